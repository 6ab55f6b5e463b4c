"""RestBench-TMDB on the replica: along a mended gold path lies the right answer. Queries stand here by index."""

import json
from datetime import date

import pytest
from data_folder import data_folder
from reference import REPLICA

from codetool.benchmarks.tmdb import TMDB
from codetool.tools.tmdb.document import document
from codetool.types import ToolCall

CASES = {}
UNANSWERABLE = {53}  # asks when a company was founded, which no operation tells


class Service:
    """The replica as a short-hand, and the endpoints asked for in order."""

    def __init__(self):
        self.path = []

    async def get(self, path, **query):
        before = REPLICA.calls.copy()
        answer = await REPLICA.answer(ToolCall("GET", "https://api.themoviedb.org/3" + path, query))
        assert answer.ok, path
        self.path += REPLICA.calls - before
        return json.loads(answer.body)

    async def first(self, kind, name):
        return (await self.get(f"/search/{kind}", query=name))["results"][0]

    async def details(self, kind, item):
        return await self.get(f"/{kind}/{item['id']}")

    async def show(self, name):
        return await self.details("tv", await self.first("tv", name))

    async def film(self, title):
        return await self.details("movie", await self.first("movie", title))

    async def cast(self, kind, item):
        return (await self.get(f"/{kind}/{item['id']}/credits"))["cast"]

    async def director(self, title):
        film = await self.first("movie", title)
        return directed(await self.get(f"/movie/{film['id']}/credits"))[0]

    async def work(self, name):
        return await self.get(f"/person/{(await self.first('person', name))['id']}/movie_credits")

    async def parts(self, name):
        return (await self.details("collection", await self.first("collection", name)))["parts"]

    async def birthday(self, person):
        return (await self.details("person", person))["birthday"]

    async def headquarters(self, work):
        return (await self.details("company", work["production_companies"][0]))["headquarters"]

    async def top(self, path):
        return (await self.get(path))["results"][0]


def directed(credits):
    return [entry for entry in credits["crew"] if entry["job"] == "Director"]


def names(items):
    return [item.get("title", item.get("name")) for item in items]


def released(film):
    return film["release_date"]


def rating(film):
    return film["vote_average"]


def query(*indices, answer):
    """The program below it answers the queries of these indices."""

    def keep(program):
        CASES.update({index: (program, answer) for index in indices})
        return program

    return keep


@query(0, answer=8)
async def _(tmdb):
    return len(directed(await tmdb.work("Sofia Coppola")))


@query(1, answer="Christian Bale")
async def _(tmdb):
    return names(await tmdb.cast("movie", await tmdb.first("movie", "The Dark Knight")))[0]


@query(8, answer="Oppenheimer")
async def _(tmdb):
    return max(directed(await tmdb.work("Christopher Nolan")), key=released)["title"]


@query(9, answer="GoodFellas")
async def _(tmdb):
    return max(directed(await tmdb.work("Martin Scorsese")), key=rating)["title"]


@query(10, answer=["Martin Scorsese"])
async def _(tmdb):
    film = max((await tmdb.work("Leonardo DiCaprio"))["cast"], key=released)
    return names(directed(await tmdb.get(f"/movie/{film['id']}/credits")))


@query(13, answer=["George Miller"])
async def _(tmdb):
    film = await tmdb.top("/trending/movie/day")
    return names(directed(await tmdb.get(f"/movie/{film['id']}/credits")))


@query(14, answer="Catherine Hardwicke")
async def _(tmdb):
    return (await tmdb.director("Twilight"))["name"]


@query(29, answer=["Leonardo DiCaprio", "Kate Winslet", "Billy Zane"])
async def _(tmdb):
    return names(await tmdb.cast("movie", await tmdb.first("movie", "Titanic")))[:3]


@query(33, answer=["Mark Hamill", "Harrison Ford", "Carrie Fisher"])
async def _(tmdb):
    return names(await tmdb.cast("movie", min(await tmdb.parts("Star Wars"), key=released)))[:3]


@query(36, answer=["2012-12-12", "2013-12-11", "2014-12-10"])
async def _(tmdb):
    return [released(part) for part in await tmdb.parts("The Hobbit")]


@query(37, answer=["The Fast and the Furious", "2 Fast 2 Furious", "Fast X", 10])
async def _(tmdb):
    titles = names(await tmdb.parts("The Fast and the Furious"))
    return [*titles[:2], titles[-1], len(titles)]


@query(39, answer="2001-12-18")
async def _(tmdb):
    return min(released(part) for part in await tmdb.parts("Lord of the Rings"))


@query(43, answer=(10, {"Pulp Fiction", "Reservoir Dogs", "Kill Bill: Vol. 1"}))
async def _(tmdb):
    director = await tmdb.director("Django Unchained")
    titles = names(directed(await tmdb.get(f"/person/{director['id']}/movie_credits")))
    return len(titles), {"Pulp Fiction", "Reservoir Dogs", "Kill Bill: Vol. 1"} & set(titles)


@query(49, 72, answer="Ella Purnell")
async def _(tmdb):
    return names(await tmdb.cast("tv", await tmdb.top("/tv/popular")))[0]


@query(52, answer=138)
async def _(tmdb):
    return (await tmdb.show("2 Broke Girls"))["number_of_episodes"]


@query(54, answer="2007-09-24")
async def _(tmdb):
    return (await tmdb.show("The Big Bang Theory"))["first_air_date"]


@query(62, answer="Culver City, California")
async def _(tmdb):
    return await tmdb.headquarters(await tmdb.details("tv", await tmdb.top("/tv/popular")))


@query(63, answer={"Sci-Fi & Fantasy", "Action & Adventure", "Drama"})
async def _(tmdb):
    return set(names((await tmdb.show("The Mandalorian"))["genres"]))


@query(64, answer="1960-10-12")
async def _(tmdb):
    return await tmdb.birthday((await tmdb.cast("tv", await tmdb.top("/trending/tv/day")))[0])


@query(71, answer="1975-04-02")
async def _(tmdb):
    return await tmdb.birthday((await tmdb.cast("tv", await tmdb.first("tv", "The Mandalorian")))[0])


@query(77, answer=["Oppenheimer", "Interstellar", "The Dark Knight"])
async def _(tmdb):
    return names((await tmdb.first("person", "Christopher Nolan"))["known_for"])


@query(78, answer="Avatar: The Way of Water")
async def _(tmdb):
    films = [await tmdb.first("movie", "Avatar"), await tmdb.first("movie", "Avatar: The Way of Water")]
    return max(films, key=rating)["title"]


@query(80, answer={"Adventure", "Fantasy", "Action"})
async def _(tmdb):
    return set(names((await tmdb.film("Lord of the Ring"))["genres"]))


@query(84, answer="1958-10-16")
async def _(tmdb):
    film = await tmdb.first("movie", "The Shawshank Redemption")
    return await tmdb.birthday((await tmdb.cast("movie", film))[0])


@query(85, answer="1959-01-28")
async def _(tmdb):
    return await tmdb.birthday(await tmdb.director("The Shawshank Redemption"))


@query(86, answer="Beverly Hills, California")
async def _(tmdb):
    return await tmdb.headquarters(await tmdb.film("The Shawshank Redemption"))


@query(87, answer="San Francisco, California")
async def _(tmdb):
    return await tmdb.headquarters(await tmdb.details("movie", (await tmdb.parts("Star Wars"))[0]))


@query(88, answer="The Double Life of Véronique")
async def _(tmdb):
    films = [await tmdb.film("The Double Life of Veronique"), await tmdb.film("Mulholland Drive")]
    return min(films, key=released)["title"]


@query(90, answer="Missoula, Montana, USA")
async def _(tmdb):
    return (await tmdb.details("person", await tmdb.director("Mulholland Drive")))["place_of_birth"]


@query(92, answer=[30, 34])
async def _(tmdb):
    return [len(directed(await tmdb.work(name))) for name in ("Akira Kurosawa", "Spielberg")]


@query(94, answer="1984-11-22")
async def _(tmdb):
    return await tmdb.birthday(await tmdb.first("person", "Scarlett Johansson"))


@query(95, answer=4)
async def _(tmdb):
    return (await tmdb.show("Sword Art Online"))["number_of_seasons"]


@query(96, answer={"Yui Aragaki", "Gen Hoshino"})
async def _(tmdb):
    cast = names(await tmdb.cast("tv", await tmdb.first("tv", "We Married as Job")))
    return {"Yui Aragaki", "Gen Hoshino"} & set(cast)


@query(97, answer=57)
async def _(tmdb):
    director = await tmdb.birthday(await tmdb.director("Barbie"))
    lead = await tmdb.birthday((await tmdb.cast("tv", await tmdb.first("tv", "DEATH NOTE")))[0])
    return (date.fromisoformat(director) - date.fromisoformat(lead)).days


@query(98, answer="The Frozen Ground")
async def _(tmdb):
    return max((await tmdb.work("Katherine LaNasa"))["cast"], key=released)["title"]


async def run(index):
    tmdb = Service()
    program, _ = CASES[index]
    return await program(tmdb), tmdb.path


def tasks():
    return TMDB(folder=data_folder("restbench").parent, tools="all", gold="repaired", observation=1500).tasks()


@pytest.mark.parametrize("index", sorted(CASES))
async def test_the_answer_is_right(index):
    answer, _ = await run(index)
    assert answer == CASES[index][1]


@pytest.mark.parametrize("index", sorted(CASES))
async def test_it_lies_at_the_end_of_the_mended_gold_path(index):
    _, path = await run(index)
    assert tuple(path) == tasks()[index].gold


def test_every_query_that_the_replica_has_the_operations_for_is_here():
    known = {f"GET {path}" for path in document()["paths"]}
    within = {index for index, task in enumerate(tasks()) if set(task.gold) <= known}
    assert within == set(CASES) | UNANSWERABLE
