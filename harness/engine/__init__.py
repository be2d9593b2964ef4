"""The engine: what is left to do (scheduler), in what order (policy), where (worker), how
(trainer), and the run that combines them."""

from harness.engine.torch_private import defer_dynamo

defer_dynamo()  # before anything imports torch, in workers too
