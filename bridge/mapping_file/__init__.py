"""The mapping file: the YAML that people write, as a mapping set; every problem at once, with its file and line."""

from bridge.mapping_file.document import decode_mappings, load_mappings

__all__ = ["decode_mappings", "load_mappings"]
