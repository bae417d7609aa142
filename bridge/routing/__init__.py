"""Which model, prompt and settings a model name stands for."""
