"""redis-py without OpenTelemetry's metrics, for what is first in a process to import it.

It loads them, 60 modules, wherever they are installed. Ours are for spans alone, and only where somebody wants spans.
"""

from gateway_project.lib.processes.absent import absent

with absent("opentelemetry"):
    import redis as redis
