"""Running pixel programs on a GPU: WGSL, through WebGPU."""
