"""The words of the planted worlds: themes of classes of English words, conditions that may stand before them, and words between them.

English words are used so that a judge that reads, such as the embedded one, can answer as well as a judge that knows the truth.
No word occurs twice.
"""

from __future__ import annotations

from collections.abc import Mapping

THEMES: Mapping[str, Mapping[str, str]] = {
    "animals": {
        "dogs": "dog puppy hound terrier collie poodle beagle spaniel",
        "birds": "bird sparrow eagle pigeon owl robin falcon swan",
        "fish": "fish salmon trout tuna herring carp cod shark",
        "insects": "insect beetle ant wasp moth butterfly mosquito grasshopper",
    },
    "food and drink": {
        "fruit": "fruit apple banana peach cherry grape melon plum",
        "vegetables": "vegetable carrot onion cabbage spinach pumpkin celery lettuce",
        "drinks": "drink coffee tea beer wine lemonade whisky cocoa",
        "desserts": "dessert cake pudding biscuit pie tart pancake waffle",
    },
    "the household": {
        "furniture": "furniture table chair sofa desk cupboard shelf bed",
        "kitchen utensils": "utensil spoon fork knife pan kettle saucepan ladle",
        "rooms": "room kitchen bedroom attic cellar hallway bathroom pantry",
        "clothes": "clothes shirt trousers jacket skirt sweater coat scarf",
    },
    "transport": {
        "road vehicles": "vehicle car truck van bus taxi tractor motorcycle",
        "ships": "ship boat ferry yacht canoe submarine barge raft",
        "aircraft": "aircraft plane helicopter glider jet airship airliner drone",
        "trains": "train tram locomotive subway railway carriage wagon monorail",
    },
    "nature": {
        "trees": "tree oak pine maple birch willow cedar elm",
        "flowers": "flower rose tulip daisy lily orchid violet sunflower",
        "weather": "weather rain snow storm fog thunder hail frost",
        "landforms": "mountain valley hill canyon cliff island desert glacier",
    },
    "people": {
        "relatives": "family mother father sister brother uncle aunt cousin",
        "occupations": "occupation doctor teacher lawyer plumber carpenter baker farmer",
        "parts of the body": "body arm leg shoulder knee elbow ankle wrist",
        "emotions": "emotion anger fear joy sadness pride envy disgust",
    },
    "the arts": {
        "musical instruments": "instrument piano violin guitar flute trumpet drum cello",
        "dances": "dance waltz tango ballet polka foxtrot samba salsa",
        "writings": "book novel poem essay diary biography memoir pamphlet",
        "pictures": "picture painting portrait sketch mural photograph fresco collage",
    },
    "the sciences": {
        "metals": "metal iron copper silver gold zinc nickel aluminium",
        "diseases": "disease measles malaria cholera influenza pneumonia asthma diabetes",
        "planets": "planet mars venus jupiter saturn neptune mercury uranus",
        "branches of science": "science physics chemistry biology geology astronomy botany genetics",
    },
}
"""Each theme's classes, each with its words, the most frequent first."""

CONDITIONS: Mapping[str, str] = {
    "a number": "two three four five seven nine twelve twenty",
    "a colour": "red green blue yellow purple brown grey pink",
    "a negation": "no not never without neither nor hardly scarcely",
    "a word of size": "big small tiny huge large little giant enormous",
}
"""Words on which a unit may depend if they stand directly before its own."""

_BETWEEN = (
    "the of and to in that it is was he for on with as his they at be this had from or by but some what there we out "
    "other were all your when up use word how said each she which do their time if will way about many then them "
    "would write like so these her make thing see him has look more day could go come did sound most number who over "
    "know than call first may down side been now find any new work part take get place made live where after back "
    "only round year came show every good me give our under name very through just form much think say help low line "
    "before turn cause same mean differ move right old too does tell sentence set want well also play end put read "
    "port spell add even here must high such follow act why ask change went light kind off need try us again point "
    "world near build self stand own page should found answer grow study still learn between state keep last let "
    "thought start might saw far draw left late run while press close night real life few stop open seem together "
    "next begin got walk example ease often always those both mark until mile care second group plain usual ready "
    "above ever though feel talk soon direct leave measure class question happen complete area half rock order south "
    "problem piece told knew pass since top whole king space heard best hour better true during remember step early "
    "hold west ground interest reach fast sing listen travel less morning simple several toward war lay against "
    "pattern slow centre person money serve appear road map rule govern pull cold notice fall power town fine certain "
    "fly lead cry dark wait plan figure box field rest correct able pound done beauty drive stood contain front teach "
    "week final gave oh quick develop sleep warm free minute strong special behind clear produce fact street inch lot "
    "course stay full force object decide surface deep system busy test record common possible"
)
BETWEEN = tuple(_BETWEEN.split())
"""Other words, the most frequent first."""
