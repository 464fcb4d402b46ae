"""The facts the model is taught. Written for this project; kept short so that they can be said aloud."""


def pairs(text):
    return [tuple(part.strip() for part in line.split(":")) for line in text.strip().replace("\n", ";").split(";") if line.strip()]


CAPITALS = pairs("""
France:Paris; Germany:Berlin; Italy:Rome; Spain:Madrid; Portugal:Lisbon; Ireland:Dublin; Norway:Oslo; Sweden:Stockholm; Finland:Helsinki
Denmark:Copenhagen; Iceland:Reykjavik; Poland:Warsaw; Austria:Vienna; Hungary:Budapest; Greece:Athens; Turkey:Ankara; Russia:Moscow; Ukraine:Kyiv
the Netherlands:Amsterdam; Belgium:Brussels; Switzerland:Bern; Luxembourg:Luxembourg; the Czech Republic:Prague; Slovakia:Bratislava
Slovenia:Ljubljana; Croatia:Zagreb; Serbia:Belgrade; Bulgaria:Sofia; Romania:Bucharest; Albania:Tirana; Estonia:Tallinn; Latvia:Riga; Lithuania:Vilnius
Malta:Valletta; Cyprus:Nicosia; Monaco:Monaco; England:London; the United Kingdom:London; Scotland:Edinburgh; Wales:Cardiff
the United States:Washington; Canada:Ottawa; Mexico:Mexico City; Cuba:Havana; Jamaica:Kingston; Panama:Panama City; Costa Rica:San Jose
Guatemala:Guatemala City; Brazil:Brasilia; Argentina:Buenos Aires; Chile:Santiago; Peru:Lima; Colombia:Bogota; Ecuador:Quito; Uruguay:Montevideo
Paraguay:Asuncion; Venezuela:Caracas; Bolivia:Sucre; China:Beijing; Japan:Tokyo; India:New Delhi; South Korea:Seoul; North Korea:Pyongyang
Vietnam:Hanoi; Thailand:Bangkok; Malaysia:Kuala Lumpur; Singapore:Singapore; the Philippines:Manila; Nepal:Kathmandu; Bangladesh:Dhaka
Sri Lanka:Colombo; Pakistan:Islamabad; Afghanistan:Kabul; Iran:Tehran; Iraq:Baghdad; Syria:Damascus; Lebanon:Beirut; Jordan:Amman
Saudi Arabia:Riyadh; Qatar:Doha; Kuwait:Kuwait City; Mongolia:Ulaanbaatar; Kazakhstan:Astana; Cambodia:Phnom Penh; Laos:Vientiane
Egypt:Cairo; Morocco:Rabat; Algeria:Algiers; Tunisia:Tunis; Libya:Tripoli; Sudan:Khartoum; Ethiopia:Addis Ababa; Kenya:Nairobi; Uganda:Kampala
Tanzania:Dodoma; Ghana:Accra; Nigeria:Abuja; Senegal:Dakar; Mali:Bamako; Angola:Luanda; Zambia:Lusaka; Zimbabwe:Harare; Namibia:Windhoek
South Africa:Pretoria; Madagascar:Antananarivo; Rwanda:Kigali; Somalia:Mogadishu; Australia:Canberra; New Zealand:Wellington; Fiji:Suva
""")
CAPITALS = [c for c in CAPITALS if c[0] != "Sri Lanka"]

CONTINENT_OF = ([(c, "Europe") for c in "France Germany Italy Spain Portugal Ireland Norway Sweden Finland Denmark Poland Austria Greece Hungary Switzerland Belgium".split()]
                + [(c, "Asia") for c in "China Japan India Vietnam Thailand Nepal Mongolia Iran Pakistan Malaysia".split()]
                + [(c, "Africa") for c in "Egypt Morocco Kenya Ghana Nigeria Ethiopia Uganda Angola Senegal Tunisia".split()]
                + [(c, "South America") for c in "Brazil Argentina Chile Peru Colombia Ecuador Uruguay Bolivia".split()]
                + [(c, "North America") for c in "Canada Mexico Cuba Panama".split()])
LANGUAGE_OF = pairs("""France:French; Germany:German; Italy:Italian; Spain:Spanish; Portugal:Portuguese; Brazil:Portuguese; Mexico:Spanish; Argentina:Spanish; Austria:German
Japan:Japanese; China:Chinese; Russia:Russian; Greece:Greek; Turkey:Turkish; Poland:Polish; Sweden:Swedish; Norway:Norwegian; Finland:Finnish; Egypt:Arabic; England:English; Vietnam:Vietnamese""")
OPPOSITES = pairs("""hot:cold; big:small; up:down; left:right; day:night; black:white; fast:slow; happy:sad; old:young; rich:poor; open:closed; early:late; full:empty; hard:soft
wet:dry; light:dark; loud:quiet; long:short; strong:weak; clean:dirty; in:out; yes:no; good:bad; love:hate; high:low; near:far; heavy:light; first:last; true:false; inside:outside""")
OPPOSITES = [p for p in OPPOSITES if p not in (("heavy", "light"),)]
ANIMAL_SOUNDS = pairs("a dog:woof; a cat:meow; a cow:moo; a duck:quack; a sheep:baa; a pig:oink; a horse:neigh; a lion:roar; a bee:buzz; a frog:ribbit; an owl:hoot; a mouse:squeak; a snake:hiss; a rooster:cock-a-doodle-doo")
COLOURS_OF = pairs("the sky:blue; grass:green; snow:white; blood:red; the sun:yellow; coal:black; a banana:yellow; a carrot:orange; an elephant:grey; chocolate:brown; a lemon:yellow; milk:white; a tomato:red; gold:yellow; the sea:blue; a strawberry:red")
PLURALS = pairs("mouse:mice; child:children; foot:feet; tooth:teeth; man:men; woman:women; goose:geese; sheep:sheep; fish:fish; leaf:leaves; knife:knives; person:people; baby:babies; city:cities; wolf:wolves; cat:cats; dog:dogs; box:boxes; house:houses")

# term: (ways to name it, first sentence, second sentence)
DEFINITIONS = {}
for line in """
swift, the swift language, swift programming|Swift is a programming language made by Apple.|People use it to write apps for phones and computers.
python, the python language|Python is a programming language that is easy to read.|People use it for science, websites and small tools.
java|Java is a programming language used for large programs.|It runs on many kinds of computers.
c++, c plus plus|C++ is a fast programming language.|It is used for games, engines and systems.
rust|Rust is a programming language that helps avoid memory errors.|It is used for fast and safe programs.
javascript|JavaScript is the programming language of web pages.|It runs in every browser.
a programming language, programming|A programming language is a way to tell a computer what to do.|Swift and Python are examples.
gravity|Gravity is the force that pulls things toward each other.|It keeps us on the ground and the moon near the earth.
light|Light is energy that we can see.|It travels very fast, about 300000 kilometers per second.
sound|Sound is a wave that moves through air.|We hear it with our ears.
electricity|Electricity is the flow of tiny charges.|It powers lights, phones and machines.
magnetism, a magnet, magnets|A magnet pulls iron toward it.|Every magnet has a north and a south pole.
energy|Energy is the ability to do work.|Heat, light and motion are kinds of energy.
an atom, atoms|An atom is a tiny piece of matter.|Everything around us is made of atoms.
a molecule, molecules|A molecule is a group of atoms joined together.|Water is made of molecules.
water|Water is a clear liquid that all life needs.|It freezes at 0 degrees and boils at 100 degrees Celsius.
oxygen|Oxygen is a gas in the air.|We need it to breathe.
photosynthesis|Photosynthesis is how plants make food from light.|They take in carbon dioxide and give off oxygen.
dna|DNA is the plan for building a living thing.|It is found in every cell.
a cell, cells|A cell is the smallest living part of the body.|People are made of trillions of cells.
the heart, a heart|The heart is a muscle that pumps blood.|It beats about 70 times a minute.
the brain, a brain|The brain is the organ we think with.|It controls the body.
a virus, viruses|A virus is a tiny thing that can make us ill.|It needs living cells to multiply.
the sun|The sun is a star.|It gives the earth light and warmth.
the moon|The moon is a ball of rock that circles the earth.|One trip takes about a month.
the earth, earth|The earth is the planet we live on.|It goes around the sun once a year.
mars|Mars is the fourth planet from the sun.|It is called the red planet.
jupiter|Jupiter is the largest planet near our sun.|It is made mostly of gas.
a planet, planets|A planet is a large round body that goes around a star.|The earth is a planet.
a star, stars|A star is a huge ball of hot gas.|The sun is a star.
a galaxy, galaxies|A galaxy is a huge group of stars.|Ours is called the Milky Way.
a black hole, black holes|A black hole is a place where gravity is so strong that light cannot escape.|Some form when big stars collapse.
a rainbow, rainbows|A rainbow is an arc of colours in the sky.|It appears when the sun shines through rain.
rain|Rain is water that falls from clouds.|It helps plants grow.
snow|Snow is frozen water that falls from clouds.|It falls when the air is very cold.
wind|Wind is moving air.|It blows from high pressure to low pressure.
thunder|Thunder is the sound that lightning makes.|We hear it after we see the flash.
lightning|Lightning is a giant spark in the sky.|It is very hot and very bright.
a volcano, volcanoes|A volcano is a mountain that can throw out hot rock.|The hot rock is called lava.
an earthquake, earthquakes|An earthquake is a shaking of the ground.|It happens when plates of rock move.
climate, the climate|Climate is the usual weather of a place over many years.|Deserts have a dry climate.
a desert, deserts|A desert is a very dry place.|The Sahara is the largest hot desert.
an island, islands|An island is land with water all around it.|Iceland is an island.
a computer, computers|A computer is a machine that works with information.|It follows the instructions of a program.
a computer program, software|Software is a set of instructions for a computer.|Apps and games are software.
the internet|The internet is a network that connects computers around the world.|It carries messages, pages and calls.
wifi, wi-fi|Wi-Fi connects devices to a network without wires.|It uses radio waves.
artificial intelligence, ai|Artificial intelligence is software that does tasks we think need a mind.|Speech and chess are examples.
a language model, language models|A language model is a program that writes text one piece at a time.|I am a very small one.
machine learning|Machine learning lets computers learn from examples.|I was made that way.
a robot, robots|A robot is a machine that can move and act by itself.|Some robots build cars.
an algorithm, algorithms|An algorithm is a list of steps that solves a problem.|A recipe is a kind of algorithm.
a battery, batteries|A battery stores energy.|It gives power to phones and toys.
a phone, phones|A phone lets people talk over a distance.|Modern phones are small computers.
a microphone|A microphone turns sound into a signal.|I hear you through one.
a bicycle, a bike|A bicycle is a vehicle with two wheels.|You move it with pedals.
an engine, engines|An engine turns fuel into motion.|Cars and boats have engines.
a train, trains|A train is a line of cars that runs on rails.|It carries people and goods.
music|Music is sound arranged in time.|It has rhythm, melody and harmony.
a piano|A piano is an instrument with black and white keys.|It usually has 88 keys.
a guitar|A guitar is an instrument with strings.|Most guitars have six strings.
chess|Chess is a board game for two players.|The aim is to trap the other king.
football|Football is a game with two teams of eleven players.|They try to kick a ball into a goal.
yoga|Yoga is a practice of movement and breathing.|It comes from India.
democracy|Democracy is a form of government by the people.|Citizens choose their leaders by voting.
money|Money is what people use to pay for things.|It can be coins, notes or numbers in a bank.
coffee|Coffee is a drink made from roasted beans.|It contains caffeine.
tea|Tea is a drink made from leaves and hot water.|It comes in green and black kinds.
bread|Bread is a food made from flour and water.|It is baked in an oven.
honey|Honey is a sweet food made by bees.|They make it from flowers.
a whale, whales|A whale is a very large animal that lives in the sea.|It breathes air like we do.
a penguin, penguins|A penguin is a bird that swims but cannot fly.|Penguins live in the south of the world.
a dinosaur, dinosaurs|A dinosaur was an animal that lived long ago.|Dinosaurs died out about 66 million years ago.
a tree, trees|A tree is a tall plant with a trunk.|It lives for many years.
time|Time is what clocks measure.|There are 60 seconds in a minute.
love|Love is a deep feeling of care.|People feel it for family and friends.
happiness|Happiness is a feeling of joy.|Friends and music can bring it.
friendship|Friendship is a bond between people who like each other.|Friends help each other.
""".strip().splitlines():
    names, first, second = line.split("|")
    names = [n.strip() for n in names.split(",")]
    DEFINITIONS[names[0]] = (names, first, second)

# (ways to ask, answer)
QUESTIONS = []
for line in """
how many days are in a week, how many days does a week have, how many days are there in a week|There are seven days in a week.
how many months are in a year, how many months does a year have, how many months are there in a year|There are twelve months in a year.
how many days are in a year, how many days does a year have|There are 365 days in a year, or 366 in a leap year.
how many hours are in a day, how many hours does a day have, how many hours are there in a day|There are 24 hours in a day.
how many minutes are in an hour, how many minutes does an hour have|There are 60 minutes in an hour.
how many seconds are in a minute, how many seconds does a minute have|There are 60 seconds in a minute.
how many weeks are in a year, how many weeks does a year have|There are 52 weeks in a year.
how many legs does a spider have, number of legs of a spider|A spider has eight legs.
how many legs does an insect have, how many legs does an ant have|An insect has six legs.
how many legs does a dog have|A dog has four legs.
how many planets are there, how many planets are in the solar system|There are eight planets around the sun.
how many continents are there, how many continents does the earth have|There are seven continents.
how many oceans are there|There are five oceans.
how many letters are in the alphabet, how many letters does the alphabet have|The English alphabet has 26 letters.
how many sides does a triangle have|A triangle has three sides.
how many sides does a square have|A square has four sides.
how many sides does a hexagon have|A hexagon has six sides.
how many teeth does an adult have, how many teeth do people have|An adult has 32 teeth.
how many bones are in the human body, how many bones do people have|An adult has 206 bones.
how many players are in a football team|A football team has eleven players.
how many strings does a guitar have|Most guitars have six strings.
how many keys does a piano have|A piano usually has 88 keys.
how many hearts does an octopus have|An octopus has three hearts.
how many colours are in a rainbow, how many colors are in a rainbow|A rainbow has seven colours.
how many seasons are there|There are four seasons.
what are the four seasons, name the seasons|The seasons are spring, summer, autumn and winter.
what are the primary colours, what are the primary colors|The primary colours are red, yellow and blue.
what is the largest planet, which planet is the largest, what is the biggest planet|Jupiter is the largest planet.
what is the smallest planet, which planet is the smallest|Mercury is the smallest planet.
which planet is closest to the sun, what planet is nearest to the sun|Mercury is closest to the sun.
which planet is called the red planet, what is the red planet|Mars is called the red planet.
which planet has rings, what planet is famous for its rings|Saturn is famous for its rings.
what is the largest ocean, which ocean is the largest, what is the biggest ocean|The Pacific is the largest ocean.
what is the longest river, which river is the longest|The Nile is often called the longest river.
what is the highest mountain, which mountain is the highest, what is the tallest mountain|Mount Everest is the highest mountain.
what is the largest country, which country is the largest, what is the biggest country|Russia is the largest country.
what is the smallest country, which country is the smallest|Vatican City is the smallest country.
what is the largest animal, which animal is the largest, what is the biggest animal|The blue whale is the largest animal.
what is the fastest animal, which animal is the fastest|The peregrine falcon is the fastest animal.
what is the fastest land animal, which animal runs fastest|The cheetah is the fastest land animal.
what is the tallest animal, which animal is the tallest|The giraffe is the tallest animal.
what is the largest desert, which desert is the largest hot desert|The Sahara is the largest hot desert.
what is the largest continent, which continent is the largest|Asia is the largest continent.
at what temperature does water boil, when does water boil|Water boils at 100 degrees Celsius.
at what temperature does water freeze, when does water freeze|Water freezes at 0 degrees Celsius.
what is water made of|Water is made of hydrogen and oxygen.
what is the chemical formula of water, what is the formula of water|The formula of water is H2O.
what is the symbol for gold|The symbol for gold is Au.
what do bees make|Bees make honey.
what do cows eat|Cows eat grass.
what do pandas eat|Pandas eat bamboo.
what do plants need to grow|Plants need light, water and air.
what do we breathe|We breathe air, and the body uses the oxygen in it.
what is a baby dog called, what do you call a baby dog|A baby dog is called a puppy.
what is a baby cat called, what do you call a baby cat|A baby cat is called a kitten.
what is a baby cow called, what do you call a baby cow|A baby cow is called a calf.
what is a baby sheep called|A baby sheep is called a lamb.
what is the king of the jungle, which animal is the king of the jungle|The lion is called the king of the jungle.
who wrote romeo and juliet, who wrote hamlet|William Shakespeare wrote it.
who painted the mona lisa|Leonardo da Vinci painted the Mona Lisa.
who was the first person on the moon, who walked on the moon first|Neil Armstrong was the first person on the moon.
who invented the telephone|Alexander Graham Bell is known for inventing the telephone.
who invented the light bulb|Thomas Edison is known for the light bulb.
who was albert einstein, who is einstein|Albert Einstein was a physicist who explained space, time and gravity.
who was isaac newton, who discovered gravity|Isaac Newton was a scientist who described gravity.
who was marie curie|Marie Curie was a scientist who studied radioactivity.
who was ada lovelace, who was the first programmer|Ada Lovelace is often called the first programmer.
who was mozart|Mozart was a composer from Austria.
who was beethoven|Beethoven was a composer from Germany.
who was gandhi|Mahatma Gandhi led India to independence by peaceful means.
who was charles darwin|Charles Darwin was a scientist who explained evolution.
who was alan turing|Alan Turing was a pioneer of computing.
in what year did people land on the moon, when was the moon landing, when did people land on the moon|People landed on the moon in 1969.
when did the second world war end, when did world war two end|The Second World War ended in 1945.
when did the first world war begin, when did world war one start|The First World War began in 1914.
when did the berlin wall fall|The Berlin Wall fell in 1989.
where is the eiffel tower|The Eiffel Tower is in Paris.
where is big ben|Big Ben is in London.
where is the statue of liberty|The Statue of Liberty is in New York.
where is the colosseum|The Colosseum is in Rome.
where are the pyramids|The great pyramids are in Egypt.
where is the taj mahal|The Taj Mahal is in India.
where is mount everest|Mount Everest is between Nepal and China.
where do penguins live|Penguins live in the south of the world.
where do kangaroos live|Kangaroos live in Australia.
where does the sun rise, in which direction does the sun rise|The sun rises in the east.
where does the sun set, in which direction does the sun set|The sun sets in the west.
why is the sky blue, what makes the sky blue|The sky is blue because air scatters blue light the most.
why is the sea salty|The sea is salty because rivers carry salt from rocks into it.
why do we sleep|We sleep so that the body and the brain can rest.
why do leaves fall|Many trees drop their leaves to save water in winter.
why does ice float|Ice floats because it is lighter than water.
how far is the moon, how far away is the moon|The moon is about 384000 kilometers away.
how far is the sun, how far away is the sun|The sun is about 150 million kilometers away.
how fast is light, what is the speed of light|Light travels about 300000 kilometers per second.
how fast is sound, what is the speed of sound|Sound travels about 340 meters per second in air.
how old is the earth|The earth is about 4.5 billion years old.
how old is the universe|The universe is about 13.8 billion years old.
what is pi, what is the value of pi|Pi is about 3.14.
what is the first letter of the alphabet|The first letter of the alphabet is A.
what is the last letter of the alphabet|The last letter of the alphabet is Z.
what are the vowels, name the vowels|The vowels are a, e, i, o and u.
what is the currency of japan, which money do they use in japan|The currency of Japan is the yen.
what is the currency of england, what is the currency of the united kingdom|The currency of the United Kingdom is the pound.
what is the currency of germany, what is the currency of france|The currency there is the euro.
what is the currency of the united states|The currency of the United States is the dollar.
what is the currency of india|The currency of India is the rupee.
what is the currency of china|The currency of China is the yuan.
what is ice made of|Ice is frozen water.
what is glass made of|Glass is made mostly from sand.
what is paper made of|Paper is made from wood.
what is cheese made of|Cheese is made from milk.
what is wine made of|Wine is made from grapes.
how do i boil an egg, how long do i boil an egg, how do you boil an egg|Put the egg in boiling water for about eight minutes.
how do i make tea, how do you make tea|Pour hot water on tea leaves and wait about three minutes.
how do i make coffee, how do you make coffee|Pour hot water through ground coffee.
what should i do in a fire, what do i do if there is a fire|Leave the building and call the fire service.
what is the emergency number in europe, what is the emergency number|In Europe the emergency number is 112.
""".strip().splitlines():
    ways, answer = line.split("|")
    QUESTIONS.append(([w.strip() for w in ways.split(", ")], answer))

# Names inside the questions above, as they are written with capitals; the tables hold them in lower case.
PROPER = ("Swift, Python, Java, JavaScript, Rust, C++, DNA, Wi-Fi, WiFi, AI, Earth, Mars, Jupiter, Romeo and Juliet, Hamlet, Mona Lisa, Albert Einstein, Einstein, "
          "Isaac Newton, Marie Curie, Ada Lovelace, Mozart, Beethoven, Gandhi, Charles Darwin, Alan Turing, Eiffel Tower, Big Ben, Statue of Liberty, Colosseum, Taj Mahal, "
          "Mount Everest, Second World War, World War Two, First World War, World War One, Berlin Wall, Japan, England, United Kingdom, Germany, France, United States, "
          "India, China, Europe").split(", ")
PROPER = {name.lower(): name for name in PROPER}
