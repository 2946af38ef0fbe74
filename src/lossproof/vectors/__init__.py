"""Cases for programs that read no YAML and run no Python: JSON, and safetensors files of large arrays."""
