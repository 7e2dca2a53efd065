// Which of many points is nearest to a place, and which are inside a shape: points by the cells of a grid.

const PER_CELL = 4;

export class Nearness {
  /** @param {Float32Array} at x and y of each point in turn, between 0 and 1 */
  constructor(at) {
    this.at = at;
    this.n = at.length / 2;
    this.side = Math.max(1, Math.floor(Math.sqrt(this.n / PER_CELL)));
    this.starts = new Uint32Array(this.side * this.side + 1);
    for (let i = 0; i < this.n; i++) this.starts[this.cellOf(i) + 1]++;
    for (let i = 1; i < this.starts.length; i++) this.starts[i] += this.starts[i - 1];
    const next = this.starts.slice();
    this.points = new Uint32Array(this.n);
    for (let i = 0; i < this.n; i++) this.points[next[this.cellOf(i)]++] = i;
  }

  along(value) { return Math.max(0, Math.min(this.side - 1, Math.floor(value * this.side))); }

  cellOf(i) { return this.along(this.at[2 * i + 1]) * this.side + this.along(this.at[2 * i]); }

  /** The points in the cells that a rectangle touches. */
  * around(left, bottom, right, top) {
    for (let row = this.along(bottom); row <= this.along(top); row++) {
      const first = this.starts[row * this.side + this.along(left)], last = this.starts[row * this.side + this.along(right) + 1];
      for (let k = first; k < last; k++) yield this.points[k];
    }
  }

  /** The nearest point within a distance of a place, or -1. @param {(point: number) => number} [weight] how much nearer a point counts */
  nearest(x, y, reach, weight = () => 1) {
    let best = -1, least = reach * reach;
    for (const i of this.around(x - reach, y - reach, x + reach, y + reach)) {
      const far = (this.at[2 * i] - x) ** 2 + (this.at[2 * i + 1] - y) ** 2;
      if (far <= reach * reach && far / weight(i) < least) { best = i; least = far / weight(i); }
    }
    return best;
  }

  /** The points in a rectangle, ascending. */
  within(left, bottom, right, top) {
    const found = [];
    for (const i of this.around(left, bottom, right, top)) {
      const x = this.at[2 * i], y = this.at[2 * i + 1];
      if (x >= left && x <= right && y >= bottom && y <= top) found.push(i);
    }
    return found.sort((a, b) => a - b);
  }

  /** The points inside a closed line, ascending. @param {number[][]} line */
  inside(line) {
    const xs = line.map(([x]) => x), ys = line.map(([, y]) => y);
    return this.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)).filter(i => isInside(line, this.at[2 * i], this.at[2 * i + 1]));
  }
}

const isInside = (line, x, y) => {  // a ray to the right crosses the line an odd number of times
  let inside = false;
  for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
    const [ax, ay] = line[i], [bx, by] = line[j];
    if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) inside = !inside;
  }
  return inside;
};

/** Ascending numbers as an address writes them: 3,7-12. @param {number[]} numbers */
export const ranges = numbers => {
  const parts = [];
  for (let i = 0; i < numbers.length; i++) {
    const first = numbers[i];
    while (numbers[i + 1] === numbers[i] + 1) i++;
    parts.push(first === numbers[i] ? String(first) : first + '-' + numbers[i]);
  }
  return parts.join(',');
};
