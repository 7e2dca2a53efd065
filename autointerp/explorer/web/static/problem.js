// A page that cannot be shown: keys alone.
import {base, onKeys} from './dom.js';

onKeys({'/': () => { location.href = base + '#search'; }});
