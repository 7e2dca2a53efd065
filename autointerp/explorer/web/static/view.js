// The part of a map that is on the screen, and how a pointer, a wheel, two fingers and keys move it.

const FURTHEST = 400, MARGIN = 0.06, CLICK = 5, STEP = 80;  // largest zoom; around the whole map; pixels of a click, and of an arrow key

export class View {
  /** `sides`: width and height of the points around the middle, as shares of the map's side. @param {HTMLElement} element @param {number[]} sides @param {{changed: () => void, hovered: (at: number[] | null) => void, clicked: (at: number[]) => void, drawn: (path: number[][], done: boolean) => void}} told */
  constructor(element, sides, told) {
    Object.assign(this, {element, sides, told, x: 0.5, y: 0.5, zoom: 1, width: 1, height: 1, lasso: false});
    /** @type {Map<number, number[]>} */
    this.pointers = new Map();
    new ResizeObserver(() => this.measure()).observe(element);
    element.addEventListener('wheel', event => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      this.zoomBy(Math.exp(-Math.max(-300, Math.min(300, event.deltaY * lines)) / (event.ctrlKey ? 100 : 400)), this.place(event));
    }, {passive: false});
    element.addEventListener('pointerdown', event => this.down(event));
    element.addEventListener('pointermove', event => this.move(event));
    element.addEventListener('pointerup', event => this.up(event, true));
    element.addEventListener('pointercancel', event => this.up(event, false));
    element.addEventListener('pointerleave', () => { if (!this.pointers.size) told.hovered(null); });
    this.measure();
  }

  /** Pixels of the whole map's side. */
  get scale() { return Math.min(this.width / this.sides[0], this.height / this.sides[1]) * (1 - 2 * MARGIN) * this.zoom; }

  measure() {
    this.width = Math.max(1, this.element.clientWidth);
    this.height = Math.max(1, this.element.clientHeight);
    this.told.changed();
  }

  /** The pixel of a place of the map. */
  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2]; }

  /** The place of the map at a pixel. @param {number[]} at */
  toMap([across, down]) { return [this.x + (across - this.width / 2) / this.scale, this.y - (down - this.height / 2) / this.scale]; }

  place(event) { const box = this.element.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }

  zoomBy(factor, at = [this.width / 2, this.height / 2]) {
    const [x, y] = this.toMap(at);
    this.zoom = Math.max(1, Math.min(FURTHEST, this.zoom * factor));
    this.x = x - (at[0] - this.width / 2) / this.scale;
    this.y = y + (at[1] - this.height / 2) / this.scale;
    this.moved();
  }

  pan(across, down) {
    this.x -= across / this.scale;
    this.y += down / this.scale;
    this.moved();
  }

  step(across, down) { this.pan(-across * STEP, -down * STEP); }

  /** Show a place at a zoom; the whole map without them. */
  show(x = 0.5, y = 0.5, zoom = 1) { Object.assign(this, {x, y, zoom: Math.max(1, Math.min(FURTHEST, zoom))}); this.moved(); }

  moved() {
    this.x = Math.max(0, Math.min(1, this.x));
    this.y = Math.max(0, Math.min(1, this.y));
    this.told.changed();
  }

  down(event) {
    if (event.button) return;
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    this.path = (this.lasso || event.shiftKey) && this.pointers.size === 1 ? [this.place(event)] : null;
    this.from = this.pointers.size === 1 ? this.place(event) : null;
  }

  move(event) {
    const at = this.place(event), before = this.pointers.get(event.pointerId);
    if (!before) { this.told.hovered(at); return; }
    if (this.pointers.size > 1) this.pinch(event.pointerId, before, at);
    else if (this.path) { this.path.push(at); this.told.drawn(this.path, false); }
    else if (!this.from || Math.hypot(at[0] - this.from[0], at[1] - this.from[1]) > CLICK) {
      if (this.from) { this.pan(at[0] - this.from[0], at[1] - this.from[1]); this.from = null; } else this.pan(at[0] - before[0], at[1] - before[1]);
      this.told.hovered(null);
    }
    if (!this.from || this.path) this.pointers.set(event.pointerId, at);
  }

  /** Two fingers: the places under them stay under them. */
  pinch(id, before, at) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const apart = place => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
    this.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.zoomBy(apart(at) / apart(before), [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
    this.pointers.set(id, at);
    this.from = this.path = null;
  }

  up(event, meant) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.path) this.told.drawn(meant ? this.path : [], true);
    else if (this.from && meant) this.told.clicked(this.place(event));
    this.from = this.path = null;
  }
}
