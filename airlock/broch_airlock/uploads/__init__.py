"""Bytes on their way into a draft: resumable (tus 1.0), in one stream, from the door or from the picker."""
