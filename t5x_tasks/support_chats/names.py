"""People, places and things that the chats speak of. ASCII only, so that any SentencePiece vocabulary covers them."""

_FIRST_NAMES = """
Aaron Abena Adaeze Adam Aditi Agnes Ahmed Aisha Akira Alba Alejandro Alice Amara Amina Amir Ana Anders Andrea Aniko
Anita Anna Antonio Anya Arjun Astrid Aya Ayesha Bao Beatriz Ben Bianca Bilal Birgit Boris Brandon Bruno Camila Carlos
Carmen Caroline Catalina Cecilia Chen Chidi Chiara Chloe Claire Clara Dalia Daniel Daria David Deborah Deepak Diego
Dimitri Dina Dmitri Dorothy Edith Eduardo Efua Elena Eli Elif Elin Emeka Emil Emily Emma Enzo Erik Esther Eva Fatima
Felix Femi Fiona Florian Francesca Frida Gabriel Gemma George Giulia Grace Greta Gustavo Hana Hannah Hans Haruto Hassan
Hector Helen Hugo Ibrahim Ida Igor Ikram Ines Ingrid Irene Isaac Isabel Ivan Jack Jamal James Jana Jasmine Javier
Jelena Jin Joao Johanna Jonas Joseph Joy Julia Jun Kaito Kamal Karim Karin Katya Kavya Keiko Kelly Kenji Kofi Kwame
Lars Laura Layla Leah Leila Leon Liam Lin Lina Linh Lucas Lucia Luis Lukas Maja Malik Mara Marco Margaret Maria Mariam
Marta Martin Mateo Matilda Maya Mei Mercy Mia Michael Miguel Mila Mina Mohammed Monica Nadia Naomi Natalia Nathan Neha
Ngozi Nia Nicolas Nikhil Nina Noah Noor Nora Oksana Oliver Olga Omar Oscar Pablo Patricia Paul Pavel Pedro Petra Philip
Pilar Priya Rachel Rafael Rahul Ravi Rebecca Renata Ricardo Rita Robert Rosa Ruth Sami Samira Samuel Sandra Sara Sasha
Selma Sergio Shirin Simon Sofia Stefan Sunita Svetlana Tamar Tanvi Tariq Tatiana Teresa Thabo Theo Thomas Tomas Uma
Valentina Vera Victor Vikram Wanjiru Wei Willem Xavier Yara Yasmin Yuki Yusuf Zainab Zoe Zofia Zuri
"""
FIRST_NAMES: tuple[str, ...] = tuple(_FIRST_NAMES.split())

_LAST_NAMES = """
Abebe Adeyemi Ahmad Alvarez Andersson Baker Banerjee Becker Bennett Bergman Bianchi Boateng Brandt Brown Campbell
Castillo Chang Chowdhury Clarke Cohen Costa Cruz Dahl Davis Demir Diallo Dubois Eriksen Evans Farouk Fernandez Fischer
Flores Foster Fujita Garcia Gomez Green Gupta Haddad Hall Hansen Harris Hassan Hoffman Horvat Huang Hughes Ito Ivanova
Jackson Jansen Jensen Johnson Joshi Kamau Kaplan Kaya Keller Khan Kim King Kowalski Kumar Larsen Lee Lopez Lund
Mahmoud Marino Martinez Mehta Mendes Meyer Miller Moreau Morgan Mwangi Nair Nakamura Nguyen Novak Nowak Okafor Olsen
Osei Park Patel Pereira Petrov Popescu Quinn Ramos Rashid Reyes Ricci Roberts Romero Rossi Russo Sato Schmidt Sharma
Silva Singh Smith Sokolov Suzuki Tanaka Taylor Torres Tran Turner Varga Virtanen Walker Wang Weber White Williams Wong
Wright Yamada Yilmaz Young Zhang
"""
LAST_NAMES: tuple[str, ...] = tuple(_LAST_NAMES.split())

CITIES: tuple[str, ...] = (
    "Amsterdam", "Athens", "Barcelona", "Berlin", "Boston", "Brussels", "Budapest", "Cairo", "Chicago", "Copenhagen",
    "Denver", "Dubai", "Dublin", "Edinburgh", "Geneva", "Hamburg", "Helsinki", "Istanbul", "Lisbon", "London", "Madrid",
    "Manchester", "Miami", "Milan", "Montreal", "Munich", "Naples", "Oslo", "Paris", "Porto", "Prague", "Rome", "Seattle",
    "Seoul", "Singapore", "Stockholm", "Tokyo", "Toronto", "Valencia", "Vienna", "Warsaw", "Zurich",
)  # fmt: skip

# Cities that a train can reach from each other.
RAIL_CITIES: tuple[str, ...] = (
    "Amsterdam", "Antwerp", "Barcelona", "Basel", "Berlin", "Bologna", "Bordeaux", "Bremen", "Brussels", "Budapest",
    "Cologne", "Dresden", "Florence", "Frankfurt", "Geneva", "Ghent", "Graz", "Hamburg", "Leipzig", "Lille", "Linz",
    "Lyon", "Madrid", "Marseille", "Milan", "Munich", "Naples", "Nice", "Paris", "Prague", "Rome", "Rotterdam",
    "Salzburg", "Stuttgart", "Turin", "Utrecht", "Valencia", "Venice", "Verona", "Vienna", "Warsaw", "Zurich",
)  # fmt: skip

STREETS: tuple[str, ...] = (
    "Apple Street", "Bridge Street", "Castle Road", "Cedar Avenue", "Church Lane", "Garden Street", "Green Lane",
    "Harbour Street", "High Street", "Hill Road", "King Street", "Lake Avenue", "Lime Street", "Maple Avenue",
    "Market Street", "Mill Lane", "Oak Avenue", "Park Road", "Queen Street", "River Road", "Rose Lane", "School Road",
    "Station Road", "Sunset Avenue", "Victoria Street", "West Street", "Willow Road",
)  # fmt: skip

GOODS: tuple[str, ...] = (
    "coffee machine", "desk lamp", "winter jacket", "backpack", "wireless keyboard", "toaster", "yoga mat", "rain coat",
    "kettle", "bookshelf", "phone case", "smart watch", "blender", "office chair", "travel pillow", "garden hose",
    "electric toothbrush", "pair of boots", "pair of headphones", "table fan", "suitcase", "tent", "cookbook",
    "leather wallet", "wool blanket", "baby monitor", "bicycle helmet", "frying pan", "game controller", "printer",
    "hair dryer", "air fryer", "rug", "mirror", "sleeping bag", "umbrella", "monitor", "speaker", "tablet", "camera",
)  # fmt: skip

COLOURS: tuple[str, ...] = ("black", "white", "blue", "red", "green", "grey", "brown", "yellow", "beige", "orange")
