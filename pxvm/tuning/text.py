"""What a model reads while its weights are tried: a little of everything, a line a sentence."""

TEXT = """\
The harbour lay quiet in the early morning, and only the gulls were awake.
She put the letter back into its envelope, unread, and went to open the shutters.
What is the capital of France? The capital of France is Paris.
Water boils at 100 degrees Celsius at sea level, and at lower temperatures in the mountains.
def add(a, b):
    return a + b
To make pancakes, mix flour, eggs and milk, and let the batter rest for half an hour.
"I never said that," the old man answered, "and I would not say it today."
The committee met on Tuesday to discuss the budget for the coming year.
A prime number is a whole number greater than one that has no divisors but one and itself.
Please restart the computer and try again; if the error remains, write to support.
The cat sat on the warm stone and watched the lizard without moving.
In 1969 two people walked on the Moon for the first time.
How do I reset my password when I no longer have access to my email address?
The recipe calls for two spoons of sugar, a pinch of salt and the juice of one lemon.
Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.
He had lived in the same street for forty years and knew every door in it.
The train to the coast leaves at nine from platform four.
for i in range(10): print(i * i)
Rain is expected in the north, with strong winds along the shore by evening.
The patient complained of headaches and slept badly for a week.
A contract is valid when both sides agree to it freely and know what it says.
Three friends opened a small bakery, and within a year there was a queue every morning.
The mean of a list of numbers is their sum divided by how many there are.
Once upon a time there was a king who had three daughters and no crown to give them.
Our new camera takes sharper pictures in the dark and weighs less than the old one.
Shakespeare wrote Hamlet at the beginning of the seventeenth century.
The river rose during the night and took the wooden bridge with it.
Interest rates were left unchanged, as most economists had expected.
My sister plays the violin, my brother the drums, and the neighbours have moved away.
SELECT name, price FROM products WHERE price < 20 ORDER BY name;
The engine would not start because the battery was empty.
She thanked the audience, bowed once more, and left the stage without her shoes.
Plants in pots need more water in summer than plants in the ground.
The museum is closed on Mondays; on the first Sunday of a month it costs nothing.
Gravity pulls everything towards the centre of the Earth.
He counted the coins twice and still there was one too few.
The quick brown fox jumps over the lazy dog.
Turn left behind the church, then follow the road until you see the mill.
Vaccines train the immune system to know a disease before it comes.
The bill was passed by a small majority after a long debate.
I would like a table for two at eight o'clock, by the window if there is one.
Electrons move through the wire from the negative to the positive pole.
The children built a castle of sand, and the tide took it before supper.
A good night's sleep is the best medicine, my grandmother used to say.
The company sold more bicycles this spring than in the whole of last year.
There are 365 days in a year, and 366 in a leap year.
Nobody knew who had painted the picture, but everybody knew where it hung.
"""
