"""Creates, lists, revokes and replaces the keys of a network."""
