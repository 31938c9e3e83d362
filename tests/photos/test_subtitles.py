"""Subtitles: who is said when."""

from vggface_gender.photos import subtitles
from vggface_gender.photos.subtitles import Line

LINES = [Line(0.0, 2.5, "1: male 98%"), Line(1.0, 3661.2, "2: female 97%")]


def test_srt_says_at_each_time_who_is_there():
    assert subtitles.srt(LINES) == (
        "1\n00:00:00,000 --> 00:00:01,000\n1: male 98%\n\n"
        "2\n00:00:01,000 --> 00:00:02,500\n1: male 98%\n2: female 97%\n\n"
        "3\n00:00:02,500 --> 01:01:01,200\n2: female 97%\n"
    )
    assert subtitles.srt([]) == ""


def test_ass_puts_each_above_its_box():
    text = subtitles.ass([(Line(0.0, 2.5, "male\n31 years"), (10, 20, 30, 40))], size=(640, 480))
    assert "PlayResX: 640" in text
    line = "Dialogue: 0,0:00:00.00,0:00:02.50,Face,{\\an2\\pos(20,20)}male\\N31 years"
    assert text.splitlines()[-1] == line
