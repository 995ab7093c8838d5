"""Model files: GGUF and safetensors, and how their weights are stored."""
