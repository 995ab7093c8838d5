"""What people have, read as records: documents, code, chats."""
