"""The mappings as the manager keeps them: a YAML file that is the truth, edited in place, and its history."""
