// Means, ranks and their intervals for any choice of methods and tasks: the formulas of harness/reporting/statistics, which a test holds these to.

const RESAMPLES = 1000;

/**
 * scores: by variant and task the scores of its seeds (empty: none); groups: lists of places of tasks.
 * By variant: mean, mean of groups, mean rank and its interval, null where a task is missing; and groups: by group a list of the variants' means.
 */
function ranking(scores, groups) {
  const tasks = groups.flat();
  const means = scores.map((of) => of.map((seeds) => (seeds.length ? average(seeds) : null)));
  const over = (of, places) => (places.length && places.every((t) => of[t] !== null) ? average(places.map((t) => of[t])) : null);
  const ofGroups = groups.map((places) => means.map((of) => over(of, places)));
  const complete = means.flatMap((of, v) => (over(of, tasks) === null ? [] : [v]));
  const spread = (values) => means.map((_, v) => (complete.includes(v) ? values[complete.indexOf(v)] : null));
  const ranks = tasks.map((t) => ranksOf(complete.map((v) => means[v][t])));
  return {
    mean: means.map((of) => over(of, tasks)),
    meanOfGroups: spread(complete.map((v) => average(ofGroups.map((of) => of[v])))),
    rank: spread(complete.map((_, at) => average(ranks.map((of) => of[at])))),
    rankInterval: spread(rankIntervals(complete.map((v) => tasks.map((t) => scores[v][t])))),
    groups: ofGroups,
  };
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** 1 for the highest; equal values, to 5 digits, share their average. */
function ranksOf(values) {
  const rounded = values.map((value) => Math.round(value * 1e5));
  const order = rounded.map((_, place) => place).sort((a, b) => rounded[b] - rounded[a]);
  const ranks = new Array(values.length);
  for (let first = 0; first < order.length; ) {
    let last = first;
    while (last + 1 < order.length && rounded[order[last + 1]] === rounded[order[first]]) last++;
    for (let at = first; at <= last; at++) ranks[order[at]] = (first + last) / 2 + 1;
    first = last + 1;
  }
  return ranks;
}

/** 95 % percentile intervals of mean ranks; each resample draws tasks, then seeds: `rank_intervals` in Python. Nulls below 2 variants or 5 tasks. */
function rankIntervals(scores) {
  const many = scores[0]?.length ?? 0;
  if (scores.length < 2 || many < 5) return scores.map(() => null);
  const own = scores.map((_, place) => hashed(place + 1));
  const drawn = scores.map(() => new Float64Array(RESAMPLES));
  for (let resample = 0; resample < RESAMPLES; resample++) {
    for (let at = 0; at < many; at++) {
      const position = resample * many + at;
      const task = Math.floor((hashed(position) / 2 ** 32) * many);
      const means = scores.map((of, place) => resampled(of[task], hashed(position ^ own[place])));
      ranksOf(means).forEach((rank, place) => (drawn[place][resample] += rank / many));
    }
  }
  const at = (level) => Math.round((RESAMPLES - 1) * level);
  return drawn.map((ranks) => {
    ranks.sort();
    return [ranks[at(0.025)], ranks[at(0.975)]];
  });
}

/** The mean of as many seeds, drawn with replacement. */
function resampled(seeds, start) {
  let sum = 0;
  for (let seed = 0; seed < seeds.length; seed++) sum += seeds[Math.floor((hashed(start + seed) / 2 ** 32) * seeds.length)];
  return sum / seeds.length;
}

/** A permutation of the whole numbers of 32 bits that looks random. */
function hashed(number) {
  let x = (number + 0x9e3779b9) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

/** The first and the second by the digits that are shown: 1, 2 or 0 for each; what looks equal shares a place. */
function placesOf(values, digits, lowest = false) {
  const shown = values.map((value) => (value === null ? null : Number(value.toFixed(digits))));
  const best = [...new Set(shown.filter((value) => value !== null))].sort((a, b) => (lowest ? a - b : b - a));
  return shown.map((value) => (values.length < 2 || value === null ? 0 : best.indexOf(value) + 1)).map((place) => (place > 2 ? 0 : place));
}

/** On how many tasks each variant is above each other, [wins, ties]; `means`: by variant and task, all there. */
function winsOf(means) {
  const size = (value) => Math.round(value * 1e5);
  return means.map((one) => means.map((other) => [one.filter((value, t) => size(value) > size(other[t])).length, one.filter((value, t) => size(value) === size(other[t])).length]));
}

/** A mean difference over the seeds that both have, {seed: score}, with Student's 95 % interval; `quantiles`: of t by degrees of freedom, from 1. */
function pairedDifference(one, other, quantiles) {
  const seeds = Object.keys(one).filter((seed) => seed in other);
  if (!seeds.length) return null;
  const differences = seeds.map((seed) => one[seed] - other[seed]);
  const mean = average(differences);
  if (seeds.length < 2) return [mean, null, null];
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (seeds.length - 1);
  const half = quantiles[seeds.length - 2] * Math.sqrt(variance / seeds.length);
  return [mean, mean - half, mean + half];
}
