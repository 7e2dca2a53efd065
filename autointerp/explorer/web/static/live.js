// Data that changes while a run goes on: asked for again while something is live and the page is on the screen.

/** Call `load` now, and again every `every` ms as long as it answers true. Nothing is asked for while the page is hidden.
 * @param {() => Promise<boolean>} load @param {number} every */
export const follow = (load, every) => {
  let timer = 0, live = true, busy = false;
  const next = async () => {
    clearTimeout(timer);
    if (busy || document.hidden) return;
    busy = true;
    try { live = await load(); } finally { busy = false; }
    if (live && !document.hidden) timer = window.setTimeout(next, every);
  };
  document.addEventListener('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else if (live) next(); });
  next();
  return next;
};
