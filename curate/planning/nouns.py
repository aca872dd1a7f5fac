"""Nouns that can be drawn alone: new subjects for prompts where a run brings no subjects of its own."""

from __future__ import annotations

from typing import Final

NOUNS: Final = tuple(line.strip() for line in """
accordion, acorn, airplane, alarm clock, ambulance, anchor, ant, antelope, apple, apron, armchair, artichoke,
astronaut, avocado, axe, backpack, badger, balcony, ballerina, balloon, banana, banjo, barn, barrel, basket, bat,
bathtub, beaver, bed, bee, beetle, bell, bench, bicycle, binoculars, birdhouse, bison, blender, bonfire, bonsai tree,
boot, bottle, bow tie, bowl, bread loaf, bridge, broccoli, broom, bucket, bulldozer, bus, butterfly, cabin, cactus,
cake, calculator, camel, camera, candle, cannon, canoe, canyon, car, carousel, carrot, castle, cat, cathedral, cello,
chair, chameleon, cheese, cherry tree, chess piece, chicken, chimney, cliff, clown, coat, coconut, coffee pot, comet,
compass, corn, cottage, cow, cowboy, crab, crane, crocodile, crow, crown, cup, curtain, dandelion, deer, desk,
diamond, diver, dog, doll, dolphin, donkey, donut, door, dragon, dragonfly, dress, drum, duck, eagle, ear, elephant,
envelope, excavator, eyeglasses, factory, fan, feather, fence, fern, ferris wheel, fire hydrant, firefighter,
fireplace, fish, flamingo, flashlight, flower pot, flute, forest, fork, fountain, fox, frog, garden gate, giraffe,
glacier, glove, goat, goldfish, goose, gorilla, grapes, grasshopper, greenhouse, guitar, hammer, hammock, harbour,
harp, hat, hedgehog, helicopter, helmet, hen, heron, hippopotamus, honey jar, horse, hot air balloon, hourglass,
house, hummingbird, ice cream cone, iceberg, igloo, iguana, island, jacket, jellyfish, jug, juggler, kangaroo, kettle,
key, keyboard, king, kite, kitten, knight, koala, lace fan, ladder, ladybird, lake, lamp, lantern, laptop, lemon,
leopard, letterbox, library, lighthouse, lily, lion, lizard, llama, lobster, locomotive, lotus, magnet, mango, mask,
meadow, mermaid, microphone, microscope, mill, mirror, monkey, moose, mosque, moth, motorcycle, mountain, mouse,
mushroom, necklace, nest, notebook, oak tree, octopus, onion, orange, orchid, ostrich, otter, owl, oyster, paintbrush,
palm tree, panda, parachute, parrot, peach, peacock, pear, pelican, pencil, penguin, piano, pig, pigeon, pillow, pine
tree, pineapple, pirate ship, pizza, plum, polar bear, pomegranate, potato, puffin, pumpkin, puppet, puppy, pyramid,
queen, rabbit, raccoon, radio, railway station, rainbow, raven, reindeer, rhinoceros, ring, river, robot, rocket,
rocking horse, rooster, rose, rowing boat, saddle, sailing boat, salmon, sandcastle, sandwich, saxophone, scarecrow,
scarf, scissors, scooter, seahorse, seal, sewing machine, shark, sheep, ship in a bottle, shoe, shovel, skateboard,
skyscraper, sled, snail, snake, snowman, sofa, spaceship, spider, spinning top, spoon, squirrel, staircase, starfish,
statue, steam engine, stork, strawberry, street lamp, submarine, suitcase, sunflower, swan, sword, table, tailor, tea
cup, teapot, teddy bear, telephone, telescope, television, temple, tent, tiger, toad, tomato, top hat, tortoise,
tower, toy train, tractor, traffic light, tram, treasure chest, tree house, trombone, truck, trumpet, tulip, turtle,
typewriter, umbrella, unicorn, vase, village, violin, volcano, wagon, walrus, wardrobe, watch, water mill, waterfall,
watering can, watermelon, well, whale, wheelbarrow, willow tree, windmill, wine glass, witch, wizard, wolf, wooden
chest, woodpecker, wristwatch, yacht, yak, zebra
""".replace("\n", " ").split(",") if line.strip())
