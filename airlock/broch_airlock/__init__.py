"""The airlock: what crosses the boundary of a zone, in and out, is checked, reviewed and released with proof."""
