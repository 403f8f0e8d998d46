"""Text, questions and facts to arrays of tokens; the built-in universe; data that ships with the package."""
