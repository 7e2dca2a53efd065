// Names of clusters on the map: the largest first, each where it overlaps none that is there, so that more appear as the map is enlarged.
import {el, visible} from './dom.js';

const HIGH = 20, APART = 10, AREA = 14_000, LONGEST = 3;  // pixels of a name's height, between names, and of screen for each name; words

export class MapNames {
  /** @param {HTMLElement} layer @param {{name: string, size: number, x: number, y: number, cluster: number}[]} clusters with x and y between 0 and 1 */
  constructor(layer, clusters) {
    this.layer = layer;
    this.names = clusters.filter(each => each.name).sort((a, b) => b.size - a.size).map(each => {
      const node = el('span', {dir: 'auto', hidden: true}, visible(each.name.split(', ').slice(0, LONGEST).join(', ')));
      layer.append(node);
      return {...each, node, width: 0};
    });
  }

  /** @param {any} view */
  draw(view) {
    const taken = [], most = Math.max(4, Math.round(view.width * view.height / AREA));
    for (const each of this.names) {
      const [x, y] = view.toScreen(each.x, each.y);
      if (!each.width) { each.node.hidden = false; each.width = each.node.offsetWidth; }
      const half = each.width / 2;
      const box = {left: x - half, right: x + half, top: y - HIGH / 2, bottom: y + HIGH / 2};
      const fits = taken.length < most && box.left > 4 && box.right < view.width - 4 && box.top > 4 && box.bottom < view.height - 4
        && taken.every(other => box.right + APART < other.left || other.right + APART < box.left || box.bottom + APART < other.top || other.bottom + APART < box.top);
      each.node.hidden = !fits;
      if (!fits) continue;
      taken.push(box);
      each.node.style.transform = 'translate(' + Math.round(x - half) + 'px,' + Math.round(y - HIGH / 2) + 'px)';
    }
  }
}
