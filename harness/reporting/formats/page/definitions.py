"""What the terms on the page mean."""

from harness.reporting.statistics.common import LEVEL

DEFINITIONS = (
    (
        "Selection",
        (
            "Hyper-parameters are those of the trial with the best score on val after its last "
            "epoch; ties go to the smaller learning rate. The final runs train on train and val "
            "together, or on train alone where the protocol or the task's card says so (\"train "
            'on"), and read the test set once, after the last epoch.'
        ),
    ),
    (
        "Score of a cell",
        (
            "Mean over seeds, ± the standard deviation (n \u2212 1). Its 95 % interval is Student's"
            " t over seeds."
        ),
    ),
    (
        "Mean of N tasks, mean of N groups",
        (
            "Two conventions; the name always says which. The first counts each task once; the"
            " second is the mean of the groups' means, so that a small group counts as much as a"
            " large one."
        ),
    ),
    (
        "Interval of a mean",
        (
            "Studentised bootstrap over tasks, at least as wide as Student's t: tasks are taken "
            "as a sample of the tasks one could have chosen. As a statement about just these "
            "tasks, it is too wide."
        ),
    ),
    (
        "Rank",
        (
            "Mean over tasks of a method's rank; 1 is the best, ties share the average, among the "
            "methods that have every task."
        ),
    ),
    (
        "Interval of a rank",
        (
            "95 % percentile bootstrap of the mean rank: each of 1,000 resamples draws tasks, and "
            "for each task and method seeds, with replacement. From 5 tasks on."
        ),
    ),
    (
        "Friedman, Nemenyi",
        (
            "Whether any methods differ, and by how much two mean ranks must differ for their "
            f"methods to; at {LEVEL}. J. Demšar, JMLR 7 (2006)."
        ),
    ),
    (
        "Wilcoxon, Holm",
        (
            "Signed-rank test of two methods over tasks, two-sided and exact; p-values corrected "
            "over all the pairs of its table by Holm's step-down."
        ),
    ),
    (
        "Effect",
        (
            "Matched-pairs rank-biserial correlation: the share of the ranks in favour of a "
            "method minus the share against it."
        ),
    ),
    (
        "Within the best's interval",
        ("Marked ≈: a cell whose mean is inside the 95 % interval of the best cell of its column."),
    ),
    (
        "Gaps",
        (
            "A failed or missing cell is shown as such. A mean that lacks tasks shows how many "
            "it covers, and is never ranked."
        ),
    ),
    (
        "Params",
        ("Tuned parameters of the method, without the head, which every method has."),
    ),
)
"""Term and definition."""
