from architectures import plain, vit

__all__ = ["plain", "vit"]
