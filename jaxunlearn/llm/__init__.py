"""Any OpenAI-compatible endpoint: concurrent, resumable, nothing paid twice."""
