// Points drawn with WebGL, or with the canvas's own drawing where the browser has no WebGL. Coordinates are between 0 and 1, y upwards.

const VERTEX = `#version 300 es
in vec2 at; in vec4 colour; in float state;
uniform vec2 centre, reach; uniform float size;
out vec4 tint; flat out float chosen; flat out float width;
void main() {
  gl_Position = vec4((at - centre) / reach, 0.0, 1.0);
  width = size * (state < 0.5 ? 0.8 : state > 1.5 ? 1.45 : 1.0);
  gl_PointSize = width; tint = colour; chosen = state > 2.5 ? 1.0 : 0.0;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 tint; flat in float chosen; flat in float width;
uniform vec3 ink; out vec4 pixel;
void main() {
  float far = length(gl_PointCoord - 0.5) * width, edge = width / 2.0;
  float inside = clamp(edge - far, 0.0, 1.0);
  vec3 rgb = mix(tint.rgb, ink, chosen * clamp(far - edge + 2.5, 0.0, 1.0));
  pixel = vec4(rgb, 1.0) * (inside * max(tint.a, chosen));
}`;

/** What a point is: dimmed, as it is, found by a search, chosen. Points are drawn in this order. */
export const DIM = 0, PLAIN = 1, FOUND = 2, CHOSEN = 3;
const STATES = 4;

/** The width of a point in CSS pixels. @param {number} n how many points there are @param {number} zoom 1 for the whole map @param {number} side of the drawing */
export const widthOf = (n, zoom, side) => Math.max(1.6, Math.min(13, 0.44 * side / Math.sqrt(n) * zoom ** 0.45));

class WebGlPlot {
  /** @param {HTMLCanvasElement} canvas @param {WebGL2RenderingContext} gl @param {Float32Array} at x and y of each point in turn */
  constructor(canvas, gl, at) {
    Object.assign(this, {canvas, gl, at, n: at.length / 2});
    canvas.addEventListener('webglcontextlost', event => event.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => { this.prepare(); this.paint(this.colours, this.states); this.draw(this.view, this.ink); });
    this.prepare();
  }

  prepare() {
    const {gl} = this, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(/** @type {number} */ (kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniform = name => gl.getUniformLocation(program, name);
    const attribute = (name, size, kind, normalised) => {
      const buffer = gl.createBuffer(), place = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, kind, normalised, 0, 0);
      return buffer;
    };
    attribute('at', 2, gl.FLOAT, false);
    gl.bufferData(gl.ARRAY_BUFFER, this.at, gl.STATIC_DRAW);
    this.buffers = {colour: attribute('colour', 4, gl.UNSIGNED_BYTE, true), state: attribute('state', 1, gl.UNSIGNED_BYTE, false)};
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  }

  /** Colours (4 bytes each) and states of all points. @param {Uint8Array} colours @param {Uint8Array} states */
  paint(colours, states) {
    const {gl} = this;
    Object.assign(this, {colours, states});
    for (const [name, data] of [['colour', colours], ['state', states]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    }
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, inOrder(states, colours), gl.DYNAMIC_DRAW);
  }

  /** @param {{x: number, y: number, scale: number, zoom: number, width: number, height: number}} view @param {number[]} ink */
  draw(view, ink) {
    const {gl} = this, ratio = fit(this.canvas, view);
    Object.assign(this, {view, ink});
    if (!this.states) return;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.uniform('centre'), view.x, view.y);
    gl.uniform2f(this.uniform('reach'), view.width / 2 / view.scale, view.height / 2 / view.scale);
    gl.uniform1f(this.uniform('size'), ratio * widthOf(this.n, view.zoom, Math.min(view.width, view.height)));
    gl.uniform3f(this.uniform('ink'), ink[0] / 255, ink[1] / 255, ink[2] / 255);
    gl.drawElements(gl.POINTS, this.n, gl.UNSIGNED_INT, 0);
  }
}

class CanvasPlot {
  /** @param {HTMLCanvasElement} canvas @param {Float32Array} at */
  constructor(canvas, at) { Object.assign(this, {canvas, at, n: at.length / 2, context: canvas.getContext('2d')}); }

  paint(colours, states) { Object.assign(this, {colours, states, order: inOrder(states, colours)}); }

  draw(view, ink) {
    if (!this.states) return;
    const {context, at} = this, ratio = fit(this.canvas, view), width = widthOf(this.n, view.zoom, Math.min(view.width, view.height));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    for (const i of this.order) {
      const x = (at[2 * i] - view.x) * view.scale + view.width / 2, y = (view.y - at[2 * i + 1]) * view.scale + view.height / 2;
      if (x < -9 || y < -9 || x > view.width + 9 || y > view.height + 9) continue;
      const side = width * [0.8, 1, 1.45, 1.45][this.states[i]], chosen = this.states[i] === CHOSEN;
      const rgb = chosen ? ink : this.colours.subarray(4 * i, 4 * i + 3);
      context.globalAlpha = chosen ? 1 : this.colours[4 * i + 3] / 255;
      context.fillStyle = 'rgb(' + rgb[0] + ',' + rgb[1] + ',' + rgb[2] + ')';
      context.fillRect(x - side / 2, y - side / 2, side, side);
    }
    context.globalAlpha = 1;
  }
}

/** The numbers of the points in the order in which they are drawn: by their state, and of one state the fainter ones first. */
const inOrder = (states, colours) => {
  const rank = i => 2 * states[i] + (colours[4 * i + 3] > 128 ? 1 : 0);
  const starts = new Uint32Array(2 * STATES + 1), order = new Uint32Array(states.length);
  for (let i = 0; i < states.length; i++) starts[rank(i) + 1]++;
  for (let i = 1; i < starts.length; i++) starts[i] += starts[i - 1];
  for (let i = 0; i < states.length; i++) order[starts[rank(i)]++] = i;
  return order;
};

/** Give a canvas the pixels of the screen, and return how many there are in a CSS pixel. @param {HTMLCanvasElement} canvas @param {{width: number, height: number}} view */
export const fit = (canvas, view) => {
  const ratio = Math.min(2, window.devicePixelRatio || 1), width = Math.round(view.width * ratio), height = Math.round(view.height * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  return ratio;
};

/** A plot of points, and whether it is drawn with WebGL. @param {HTMLCanvasElement} canvas @param {Float32Array} at @returns {{plot: any, webgl: boolean}} */
export const plotOf = (canvas, at) => {
  const gl = canvas.getContext('webgl2', {antialias: false, premultipliedAlpha: true});
  return gl ? {plot: new WebGlPlot(canvas, gl, at), webgl: true} : {plot: new CanvasPlot(canvas, at), webgl: false};
};
