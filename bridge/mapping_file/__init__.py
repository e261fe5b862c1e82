"""The mapping file: the YAML that people write, as a mapping set; every problem at once, with its file and line."""

from bridge.mapping_file.document import MappingFile, decode_file, decode_mappings, load_file, load_mappings

__all__ = ["MappingFile", "decode_file", "decode_mappings", "load_file", "load_mappings"]
