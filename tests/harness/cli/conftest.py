from tiny_folder import cache, card, cards, root

__all__ = ["cache", "card", "cards", "root"]
