"""The server: OpenAI's protocol in front, a model or a server behind, a memory between."""
