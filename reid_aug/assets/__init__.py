"""Files that ship with the package; each says how it was made."""
