"""For each rule of the check, damages to the small world that it finds.

Each is a file, the text before, the text after, and a part of the finding.
"""

OLSEN = "1920-05-06,1999-07-08"
SECOND_EPISODE = '"number": 2, "name": "Storm", "air_date": "2010-01-10"'
SEASONS = '[["2010-01-03", 3], ["2011-01-02", 2]]'
LAST = '"last_air_date": "2011-01-09"'
DAMAGES = {
    "find_unknown_names": [
        ("movies.jsonl", "Ada Adams", "Ida Adams", "movies.jsonl: 1 The Lamp: 'Ida Adams' is not in people.csv"),
        ("movies.jsonl", '["Bea Brown"]', '["Ben"]', "movies.jsonl: 1 The Lamp: 'Ben' is not in people.csv"),
        ("movies.jsonl", '"Drama"', '"Dram"', "movies.jsonl: 1 The Lamp: 'Dram' is not in genres.csv"),
        ("movies.jsonl", "Lamp Films", "Lamps", "movies.jsonl: 1 The Lamp: 'Lamps' is not in companies.csv"),
        ("movies.jsonl", '"light"', '"dark"', "movies.jsonl: 1 The Lamp: 'dark' is not in keywords.csv"),
        (
            "movies.jsonl",
            '"collection": 10',
            '"collection": 11',
            "movies.jsonl: 1 The Lamp: 11 is not in collections.csv",
        ),
        ("shows.jsonl", "Channel 9", "Channel 8", "shows.jsonl: 5 Harbour: 'Channel 8' is not in networks.csv"),
        ("shows.jsonl", '["Bea Brown"]', '["Ben"]', "shows.jsonl: 5 Harbour: 'Ben' is not in people.csv"),
        ("episodes.jsonl", "Cy Cole", "Si", "episodes.jsonl: 5 season 1 episode 2 Storm: 'Si' is not in people.csv"),
        (
            "episodes.jsonl",
            '"show": 5',
            '"show": 4',
            "episodes.jsonl: 4 season 1 episode 1 Fog: 4 is not in shows.jsonl",
        ),
    ],
    "find_unused_records": [
        ("episodes.jsonl", "Cy Cole", "Ada Adams", "people.csv: Cy Cole: nothing names it"),
        ("companies.csv", "\n7,", "\n6,Empty Films,,,\n7,", "companies.csv: Empty Films: nothing names it"),
        ("shows.jsonl", '["Channel 9"]', "[]", "networks.csv: Channel 9: nothing names it"),
        ("movies.jsonl", '["light"]', "[]", "keywords.csv: light: nothing names it"),
    ],
    "find_accent_variants": [
        (
            "people.csv",
            "\n2,",
            "\n2,Ada Adáms,1,Acting,,,,5\n3,",
            "people.csv: Ada Adáms: is likely the same as 'Ada Adams'",
        ),
        ("keywords.csv", "30,light", "30,light\n31,Light", "keywords.csv: Light: is likely the same as 'light'"),
        (
            "collections.csv",
            "10,The Lamp",
            "9,Lamp Collection\n10,The Lamp",
            "collections.csv: The Lamp Collection: is likely the same as 'Lamp Collection'",
        ),
    ],
    "find_same_title_and_year": [
        (
            "movies.jsonl",
            '"The Lamp II", "release_date": "2003-05-02"',
            '"the lamp", "release_date": "2000-09-09"',
            "movies.jsonl: 2 the lamp: is likely the same as 1, of the same name and year",
        ),
    ],
    "find_listed_twice": [
        ("movies.jsonl", '["Bea Brown"]', '["Bea Brown", "Bea Brown"]', "The Lamp: Director lists 'Bea Brown' twice"),
        ("movies.jsonl", '["Drama"]', '["Drama", "Drama"]', "The Lamp: genres lists 'Drama' twice"),
        ("shows.jsonl", '["Channel 9"]', '["Channel 9", "Channel 9"]', "Harbour: networks lists 'Channel 9' twice"),
    ],
    "find_small_collections": [
        (
            "movies.jsonl",
            '"collection": 10, ',
            "",
            "collections.csv: 10 The Lamp Collection: has 1 film, not at least 2",
        ),
    ],
    "find_unknown_codes": [
        ("movies.jsonl", '"PG"', '"PG-12"', "certification: 'PG-12' is none of NR, G, PG, PG-13, R, NC-17"),
        ("movies.jsonl", '"FR"', '"FRA"', "country 'FRA' is not in iso_names.py"),
        ("shows.jsonl", '"GB"', '"UK"', "country 'UK' is not in iso_names.py"),
        ("shows.jsonl", '"en"', '"xx"', "language 'xx' is not in iso_names.py"),
        ("shows.jsonl", '"Ended"', '"Over"', "status: 'Over' is none of"),
        ("shows.jsonl", '"crew"', '"type": "Series", "crew"', "type: 'Series' is none of"),
        ("movies.jsonl", '"Director"', '"Boss"', "job 'Boss' is not in credits.py"),
        ("companies.csv", ",NO,", ",N,", "companies.csv: 7 Lamp Films: country 'N' is not in iso_names.py"),
        ("people.csv", "Adams,1", "Adams,4", "people.csv: 1 Ada Adams: gender: 4 is none of 0, 1, 2, 3"),
        ("people.csv", "1,Acting", "1,Singing", "department: 'Singing' is none of Acting,"),
    ],
    "find_untidy_texts": [
        ("movies.jsonl", '"The Lamp"', '""', "movies.jsonl: 1 : '' is empty or has spaces round it"),
        ("movies.jsonl", '"Lucy"', '"Lucy "', "movies.jsonl: 1 The Lamp: 'Lucy ' is empty or has spaces round it"),
        ("keywords.csv", "30,light", "30,light\n31,", "keywords.csv: '': is empty or has spaces round it"),
    ],
    "find_wrong_homepages": [
        ("shows.jsonl", "https://", "", "homepage: 'harbour.example' begins with neither https:// nor http://"),
        ("companies.csv", "https://", "", "companies.csv: 7 Lamp Films: homepage: 'lamp.example' begins with"),
    ],
    "find_impossible_lives": [
        ("people.csv", OLSEN, "1920-05-06,1919-07-08", "deathday 1919-07-08 is not after birthday 1920-05-06"),
        ("people.csv", OLSEN, "1820-05-06,1999-07-08", "born on 1820-05-06, would be 179 years old"),
        ("people.csv", OLSEN, "1900-05-06,", "born on 1900-05-06, would be 124 years old: deathday is missing"),
        ("people.csv", OLSEN, "1998-05-06,1999-07-08", "lived only 1 years"),
        ("people.csv", OLSEN, ",1999-07-08", "deathday 1999-07-08 without a birthday"),
        ("people.csv", OLSEN, "1920-05-06,2024-06-02", "2024-06-02 is after 2024-06-01, the day that counts as today"),
    ],
    "find_work_before_birth": [
        (
            "people.csv",
            "1970-01-02",
            "2001-01-02",
            "1 The Lamp: Ada Adams was born on 2001-01-02, it came out on 2000-05-01",
        ),
        (
            "people.csv",
            "Acting,,",
            "Acting,2010-01-11,",
            "Storm: Cy Cole was born on 2010-01-11, it came out on 2010-01-10",
        ),
    ],
    "find_acting_after_death": [
        (
            "people.csv",
            OLSEN,
            "1920-05-06,1990-07-08",
            "1 The Lamp: Old Olsen died on 1990-07-08, it came out on 2000-05-01",
        ),
    ],
    "find_young_directors": [
        ("people.csv", "1965-03-04", "1985-03-04", "1 The Lamp: Bea Brown directed or created it at 15"),
        ("people.csv", "1965-03-04", "1995-03-04", "shows.jsonl: 5 Harbour: Bea Brown directed or created it at 15"),
    ],
    "find_numbers_out_of_range": [
        ("movies.jsonl", '"runtime": 100', '"runtime": 0', "1 The Lamp: runtime: 0 is not 1 to 600 minutes"),
        ("shows.jsonl", '"runtime": 50', '"runtime": 500', "5 Harbour: runtime: 500 is not 1 to 300 minutes"),
        ("movies.jsonl", "7.5", "75", "vote_average: 75 of 10 votes"),
        ("movies.jsonl", '"vote_count": 10', '"vote_count": 0', "vote_average: 7.5 of 0 votes"),
        ("movies.jsonl", '"popularity": 3.5', '"popularity": 0', "1 The Lamp: popularity: 0"),
        ("people.csv", "4.5", "nan", "people.csv: 2 Bea Brown: popularity: nan is not above 0"),
        ("movies.jsonl", '"budget": 5', '"budget": -5', "budget: -5 is below 0"),
        ("movies.jsonl", '"revenue": 7', '"revenue": -7', "revenue: -7 is below 0"),
        ("shows.jsonl", '"2010-01-03", 3', '"2010-01-03", 0', "5 Harbour: season 1 has 0 episodes"),
    ],
    "find_numbers_below_one": [
        ("keywords.csv", "30,", "0,", "keywords.csv: 0: an id is at least 1"),
        ("movies.jsonl", '"id": 1', '"id": -1', "movies.jsonl: -1: an id is at least 1"),
    ],
    "find_wrong_release_days": [
        ("movies.jsonl", "2000-06-07", "1880-06-07", "1 The Lamp: released on 1880-06-07, before there were films"),
        ("movies.jsonl", "2003-05-02", "2000-05-01", "2 The Lamp II: came out on the same day as 1, another part of"),
    ],
    "find_unordered_seasons": [
        (
            "shows.jsonl",
            "2011-01-02",
            "2010-01-03",
            "5 Harbour: season 2 begins on 2010-01-03, the one before on 2010-01-03",
        ),
    ],
    "find_wrong_last_days": [
        ("shows.jsonl", LAST, '"last_air_date": ""', "5 Harbour: last_air_date: empty, but it began on 2010-01-03"),
        (
            "shows.jsonl",
            LAST,
            LAST.replace("-09", "-01"),
            "last_air_date: 2011-01-01 is before the first day of season 2",
        ),
        ("shows.jsonl", LAST, LAST.replace("-09", "-08"), "but season 2 episode 2 aired on 2011-01-09"),
        ("shows.jsonl", LAST, LAST.replace("-09", "-10"), "2011-01-10, but the last episode aired on 2011-01-09"),
        ("shows.jsonl", SEASONS, SEASONS.replace("2011", "2025"), "status: Ended, but it airs after 2024-06-01"),
        ("shows.jsonl", "Ended", "Returning Series", "nothing has aired since 2011-01-09"),
        ("shows.jsonl", "Ended", "Planned", "status: Planned, but it began on 2010-01-03"),
    ],
    "find_misplaced_episodes": [
        ("episodes.jsonl", '"season": 2', '"season": 3', "5 season 3 episode 2 Calm: Harbour has 2 seasons"),
        ("episodes.jsonl", '"number": 2, "name": "Calm"', '"number": 3, "name": "Calm"', "the season has 2 episodes"),
        ("episodes.jsonl", "2010-01-03", "2010-01-04", "airs on 2010-01-04, its season begins on 2010-01-03"),
        ("episodes.jsonl", "2010-01-10", "2010-01-02", "airs on 2010-01-02, before its season begins on 2010-01-03"),
        ("episodes.jsonl", "2010-01-10", "2011-01-02", "airs on 2011-01-02, when season 2 has begun on 2011-01-02"),
    ],
    "find_unordered_episodes": [
        (
            "episodes.jsonl",
            SECOND_EPISODE + ', "guests": {"Cy Cole": "Tom"}}',
            SECOND_EPISODE
            + ', "guests": {"Cy Cole": "Tom"}}\n'
            + '{"show": 5, "season": 1, "number": 3, "name": "Ebb", "air_date": "2010-01-09"}',
            "5 season 1 episode 3 Ebb: airs on 2010-01-09, episode 2 on 2010-01-10",
        ),
    ],
}
