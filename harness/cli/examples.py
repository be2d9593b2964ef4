"""What each command's `--help` shows at its end: commands to copy, and a word on each.

`tests/harness/cli/test_examples.py` parses every one of them.
"""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("harness run", "the mini suite, without downloads"),
        ("harness report", "the leaderboard"),
        ("harness list methods", ""),
        ("harness run --suite vtab --data-root DIR --dry-run", "what it would cost"),
    ),
    "run": (
        ("harness run", "four methods on the five tasks of the mini suite"),
        ("harness run digits --methods 'vpt-deep,ivpt(da=false)' --seeds 0,1", ""),
        ("harness run --methods ./mine.py:Mine,vpt-deep", "your own method beside another"),
        ("harness run --suite vtab --data-root ~/vtab-1k --dry-run", "the plan and its cost"),
        ("harness run --config vtab.toml --trials 5", "flags from a file; typed ones win"),
        ("harness run --again", "the last run of this store"),
    ),
    "ablate": (
        ("harness ablate", "iVPT's toggles on the mini suite"),
        ("harness ablate --method 'ivpt(prompts=10)' --tasks digits,fashion --seeds 0", ""),
    ),
    "status": (
        ("harness status", ""),
        ("harness status --watch --store sqlite:///team.db", ""),
        ("harness status --format json", "for scripts"),
    ),
    "try": (
        ("harness try ./mine.py:Mine", "check a method of your own in seconds"),
        ("harness try vpt-deep --task digits --epochs 1 --backbone mini_swin", ""),
    ),
    "reproduce": (
        ("harness reproduce 3fa", "a row's id, or its first characters"),
        ("harness reproduce 3fa --method ./mine.py:Mine --export again.safetensors", ""),
    ),
    "report": (
        ("harness report", "in the terminal"),
        ("harness report --suite mini --baseline vpt-deep --columns costs", ""),
        ("harness report -o board.html", "one page; .md .tex .csv .json .parquet likewise"),
        ("harness report --figure ranks -o ranks.pdf", "a figure for a paper"),
        ("harness report --serve", "the page, following a run"),
    ),
    "compare": (
        ("harness compare ivpt vpt-deep --suite mini", ""),
        ("harness compare 'ivpt(da=false)' ivpt --format json", ""),
    ),
    "show": (
        ("harness show 3fa", "a row's id, or its first characters"),
        ("harness show 3fa --format json", "all that is stored"),
    ),
    "list": (
        ("harness list methods", "families, arguments, what is searched"),
        ("harness list tasks --cards ./cards", "your own tasks too"),
        ("harness list suites --format json", "for scripts"),
    ),
    "submit": (
        (
            "harness submit --to results/submissions/ours --who 'Our lab' --contact a@b.org",
            "rows of the store, as a folder to send",
        ),
        ("harness submit --check results/submissions", "what a pull request must pass"),
    ),
    "site": (("harness site results/submissions --to public", "the board as a static site"),),
    "export": (
        ("harness export 3fa tuned.safetensors", "for predict and harness.load()"),
        ("harness export 3fa vit.safetensors --merged", "a plain timm ViT"),
    ),
    "predict": (
        ("harness predict tuned.safetensors a.jpg b.jpg", ""),
        ("harness predict tuned.safetensors a.jpg --format json", "all logits"),
        ("harness predict seg.safetensors a.jpg --output maps", "segmentation"),
    ),
    "data keys": (
        ("harness data keys cifar100 --split train800", "needs no data"),
        ("harness data keys --suite vtab --split test --data-root DIR", ""),
    ),
    "data card": (("harness data card cifar100", "source, licence, citation, format"),),
    "data status": (
        ("harness data status --suite vtab --data-root DIR", "and how to get what is missing"),
        ("harness data status svhn dtd --data-root DIR --format json", ""),
    ),
    "data verify": (
        ("harness data verify --suite vtab --data-root DIR", ""),
        ("harness data verify svhn --data-root DIR --quick", "without decoding images"),
    ),
    "data fetch": (
        ("harness data fetch svhn dtd --data-root DIR", ""),
        ("harness data fetch --suite vtab --data-root DIR", "what has an address"),
    ),
    "data prepare": (("harness data prepare --suite vtab --data-root DIR", "decode once"),),
    "data export": (
        ("harness data export --suite vtab --data-root DIR --to ~/vtab-1k-png", ""),
        ("harness data export svhn --data-root DIR --to ~/vtab-1k --jpeg", ""),
    ),
    "results import": (
        ("harness results import colleague.db", "another store, a .parquet, or a folder of them"),
        ("harness results import theirs.parquet --checkpoints --store mine.db", ""),
    ),
    "results export": (
        ("harness results export all.parquet", ""),
        ("harness results export mini.parquet --suite mini --methods ivpt", ""),
    ),
    "results hparams": (("harness results hparams --to mine.csv --suite vtab", ""),),
    "results list": (
        ("harness results list --suite mini --methods ivpt", ""),
        ("harness results list --failed", "what is missing, and why"),
        ("harness results list --seeds 0 --format json", ""),
    ),
    "results show": (("harness results show 3fa", "as `harness show 3fa`"),),
    "results multi-scale": (("harness results multi-scale --tasks scenes", ""),),
    "results rm": (
        ("harness results rm 3fa 8c1", "asks first"),
        ("harness results rm --failed --methods ivpt --yes", ""),
    ),
    "protocol show": (
        ("harness protocol show default", "with all that it extends"),
        ("harness protocol show ./mine.toml --format json", ""),
    ),
    "protocol check": (("harness protocol check ./mine.toml", "is it one, and what it costs"),),
    "cache show": (("harness cache show", "where it is, and what it takes"),),
    "cache clear": (
        ("harness cache clear images", "asks first"),
        ("harness cache clear --yes", "all of it"),
    ),
    "store check": (("harness store check", ""),),
    "store migrate": (("harness store migrate --store old.db", ""),),
}
"""By the words of a command: its examples, each with what it is for (may be empty)."""
