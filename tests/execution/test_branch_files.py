"""What honest code keeps in its scratch folder is there in the next step and in every branch."""

import os

import pytest

from codetool.execution.interpreter import SandboxInterpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

needs_own_mounts = pytest.mark.skipif(
    os.environ.get("CODETOOL_TEST_ISOLATION") == "best_effort", reason="without mounts the path of the folder differs"
)


async def run_in_branches(root: SandboxInterpreter, first: str, later: str) -> set[str]:
    """Output of `later` after `first`: in the next step, in two branches, and in a branch of a branch."""
    assert (execution := await root.run(first)).status == "ok", execution
    one, two = await root.branch(), await root.branch()
    deep = await one.branch()
    outputs = set()
    for interpreter in (deep, one, two, root):
        execution = await interpreter.run(later)
        assert execution.status == "ok", execution
        outputs.add(execution.observation)
        await interpreter.close()
    return outputs


KEPT = {
    "working folder": (
        "import os\nos.makedirs('a/b')\nos.chdir('a/b')\nopen('f', 'w').write('x')",
        "print(os.listdir('.'), os.getcwd())",
        "['f'] /scratch/home/a/b\n",
    ),
    "absolute path": (
        "import os\nopen('f', 'w').write('x')\npath = os.path.abspath('f')",
        "print(open(path).read(), path)",
        "x /scratch/home/f\n",
    ),
    "temporary folder": (
        "import tempfile, os\nfolder = tempfile.mkdtemp()\nopen(folder + '/f', 'w').write('x')",
        "print(os.listdir(folder), tempfile.gettempdir())",
        "['f'] /scratch/home\n",
    ),
    "temporary folder that cleans up": (
        "import tempfile, os\nfolder = tempfile.TemporaryDirectory()\nopen(folder.name + '/f', 'w').write('x')",
        "names = os.listdir(folder.name)\nfolder.cleanup()\nprint(names, os.path.exists(folder.name))",
        "['f'] False\n",
    ),
    "temporary file without a name": (
        "import tempfile\nf = tempfile.TemporaryFile('w+')\nprint('one', file=f, flush=True)",
        "print('two', file=f, flush=True)\nf.seek(0)\nprint(f.read())",
        "one\ntwo\n\n",
    ),
    "database": (
        "import sqlite3\ndb = sqlite3.connect('d.sqlite')\ndb.execute('create table t (x)')\n"
        "for n in range(30): db.execute('insert into t values (?)', [n]); db.commit()",
        "db.execute('insert into t values (100)'); db.commit()\n"
        "print(db.execute('select sum(x) from t').fetchone(),\n"
        "    sqlite3.connect('d.sqlite').execute('select count(*) from t').fetchone())",
        "(535,) (31,)\n",
    ),
    "database with an open transaction": (
        "import sqlite3, os\nos.mkdir('x'); open('x/y', 'w').close()\ndb = sqlite3.connect('d.sqlite')\n"
        "db.execute('create table t (x)'); db.commit()\ndb.execute('insert into t values (1)')",
        "db.execute('insert into t values (2)'); db.commit()\n"
        "print(sqlite3.connect('d.sqlite').execute('select * from t').fetchall())",
        "[(1,), (2,)]\n",
    ),
    "two databases": (
        "import sqlite3\ndbs = [sqlite3.connect(f'{n}.sqlite') for n in range(2)]\n"
        "for db in dbs: db.execute('create table t (x)'); db.commit()",
        "for db in dbs: db.execute('insert into t values (7)'); db.commit()\n"
        "print([db.execute('select * from t').fetchall() for db in dbs])",
        "[[(7,)], [(7,)]]\n",
    ),
    "sparse file": (
        "import os\nfor n in range(8):\n    with open(f's{n}', 'wb') as f: f.seek(3 * 2**20); f.write(b'end')",
        "print(os.path.getsize('s7'), os.stat('s7').st_blocks * 512 < 20000, open('s7', 'rb').read()[-3:])",
        "3145731 True b'end'\n",
    ),
    "modes and times": (
        "import os\nopen('f', 'w').write('x'); os.utime('f', (1, 1)); os.chmod('f', 0o400)\n"
        "os.mkdir('d'); open('d/g', 'w').write('g'); os.chmod('d', 0o500); os.utime('d', (2, 2))",
        "print([(oct(os.stat(p).st_mode), os.stat(p).st_mtime) for p in 'fd'], open('f').read(), os.listdir('d'))",
        "[('0o100400', 1.0), ('0o40500', 2.0)] x ['g']\n",
    ),
    "links": (
        "import os\nopen('f', 'w').write('x'); os.link('f', 'h'); os.symlink('f', 's'); os.symlink('none', 'broken')",
        "open('h', 'w').write('y')\n"
        "print(open('f').read(), open('s').read(), os.readlink('broken'), os.stat('f').st_nlink)",
        "y y none 2\n",
    ),
    "read-only file that is open": (
        "import os\nf = open('f', 'a+'); os.chmod('f', 0o400)\nprint('one', file=f, flush=True)",
        "print('two', file=f, flush=True)\nprint(open('f').read())",
        "one\ntwo\n\n",
    ),
    "variables of the environment": (
        "import os\nos.environ['HOME'] = '/scratch/home/x'; os.environ['MINE'] = '1'",
        "print(os.environ['HOME'], os.environ['TMPDIR'], os.environ['MINE'])",
        "/scratch/home/x /scratch/home 1\n",
    ),
    "open folder": (
        "import os\nos.mkdir('d'); open('d/f', 'w').close()\nfolder = os.open('d', os.O_DIRECTORY)",
        "print(os.listdir(folder))",
        "['f']\n",
    ),
}


@needs_own_mounts
@pytest.mark.parametrize("name", KEPT)
async def test_scratch_files_stay(name: str, root: SandboxInterpreter) -> None:
    first, later, expected = KEPT[name]
    assert await run_in_branches(root, first, later) == {expected}


@needs_own_mounts
async def test_folder_that_was_removed_while_it_was_the_working_folder_costs_nothing(root: SandboxInterpreter) -> None:
    first = "import os\nos.mkdir('d'); os.chdir('d'); os.rmdir('/scratch/home/d')"
    assert await run_in_branches(root, first, "print(os.path.exists('/scratch/home'))") == {"True\n"}


@needs_own_mounts
async def test_branch_works_in_its_own_folder_even_if_it_began_empty(root: SandboxInterpreter) -> None:
    one, two = await root.branch(), await root.branch()
    await one.run("open('f', 'w').write('one')")
    await two.run("open('f', 'w').write('two')")
    assert (await one.run("print(open('f').read())")).observation == "one\n"
    assert (await root.run("import os\nprint(os.listdir('.'), os.listdir('/scratch/parent'))")).observation == "[] []\n"
    await one.close()
    await two.close()
