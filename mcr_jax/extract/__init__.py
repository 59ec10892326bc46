"""From clips to features: what is said, heard and seen, by a recipe that is kept."""
