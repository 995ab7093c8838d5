"""Readers: one kind of file each, from its text or bytes to blocks or to exchanges of a chat."""
