"""Tasks in which a model acts and sees what comes of it: tools of AgentDojo, text games, the servers of AgentBench."""
