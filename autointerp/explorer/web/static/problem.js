// A page that cannot be shown: keys alone.
import {addressOfSearch, onKeys} from './dom.js';

onKeys({'/': () => { location.href = addressOfSearch() + '#search'; }});
