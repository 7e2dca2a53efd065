// The notes and lists of a published folder: one file, which is there if they were published.
import {fetchData} from './published_files.js';

/** @param {string} place the folder of an index's data */
const ownAt = place => fetchData(place + 'notes.json.gz');

/** The note about a unit. @param {string} place @param {string} id */
export const noteOf = async (place, id) => ({unit_id: id, text: (await ownAt(place)).notes[id] ?? '', version: 0});

/** The lists, and with a unit whether each has it. @param {string} place @param {string | null} id */
export const listsOf = async (place, id) => {
  const {lists, notes} = await ownAt(place);
  return {lists: lists.map(({units, ...list}) => id === null ? list : {...list, has: units.includes(id)}), noted: Object.keys(notes).length};
};

/** The ids of the units with a note. @param {string} place */
export const notedIn = async place => Object.keys((await ownAt(place)).notes);

/** The ids of a list's units in its order. @param {string} place @param {number} list_id */
export const unitsOf = async (place, list_id) => {
  const found = (await ownAt(place)).lists.find(list => list.list_id === list_id);
  if (!found) throw new Error('there is no list ' + list_id + ' of this dictionary: the page of lists shows them');
  return found.units;
};
