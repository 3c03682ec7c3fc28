"""General ability: multiple choice by log-likelihood, and the loss of gold programs, all from one package's files."""
