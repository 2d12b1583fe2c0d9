"""Archives made to deceive: what pypm does with each, beside what uv, pip and installer do."""
