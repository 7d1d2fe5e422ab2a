"""Applications: each module has ``async def run(config)``; ``app.name`` chooses one."""
