"""The nouns of the house and the only state: records, the ledger, image files, boxes."""
