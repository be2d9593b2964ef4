"""From the store to leaderboards.

`rows` reads the store; `leaderboard` summarises seeds, one result per variant and task; `section`
cuts it into parts whose scores may be compared, and summarises tasks by what is in `statistics/`;
`columns` and `captions` are what a reader sees, whatever the format, and `formats/` has a file per
format. `contents` is the one input of them all: what is shown of a store. `published/` has papers'
numbers, `figures/` the pictures, `compare` and `ablation` the commands of these names, and
`result_list` and `result_detail` single results.
"""
