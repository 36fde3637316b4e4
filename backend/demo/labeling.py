"""The labeling config of the demo's project: boxes with the given labels, and why the image was asked."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

COLOURS = ("#2e8b57", "#d1495b", "#edae49", "#30638e", "#8d5b9f", "#00798c", "#b56b45", "#6b7a8f")


def config_for(labels: Sequence[str]) -> str:
    """XML for Label Studio; the n-th label gets the n-th colour and hotkey.

    The reason stands in a tag without a name: Label Studio shows it and demands it of no task.
    """
    tags = "\n".join(
        f"    <Label value={quoteattr(label)} background={quoteattr(COLOURS[n % len(COLOURS)])}/>"
        for n, label in enumerate(labels)
    )
    return f"""<View>
  <Header value="$why" size="5"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="false"/>
  <RectangleLabels name="label" toName="image" showInline="true">
{tags}
  </RectangleLabels>
</View>
"""
