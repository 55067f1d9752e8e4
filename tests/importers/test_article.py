from scanner.importers.article import ARTICLE_VALUES


def test_the_article_words_four_schannel_values_and_one_of_dotnet():
    assert [(each.name, each.number) for each in ARTICLE_VALUES] == [
        *([("DisabledByDefault", 0), ("Enabled", 1)] * 2),
        ("SchUseStrongCrypto", 1),
    ]
