"""What readers share: files of strangers, taken apart without running anything."""
