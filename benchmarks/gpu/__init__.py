"""What `bin/gpu_check` measures, part by part; each can stop and go on later."""
