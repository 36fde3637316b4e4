-- Run once, when the database server starts with an empty volume: Label Studio's tables live beside
-- the ledger, not in it.
CREATE DATABASE labelstudio;
