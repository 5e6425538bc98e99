"""How often an operation may be called: IVS's quotas, until they are lifted."""

from aws import client, fails

IVS = client()


def main():
    for _ in range(5):
        IVS.list_channels()
    message = fails("ThrottlingException", 429, lambda: [IVS.list_channels() for _ in range(6)])
    assert message == "Rate exceeded", message
    IVS.list_streams()
    # What a public mock of IVS answers to a malformed ARN, and IVS does not.
    fails("ResourceNotFoundException", 404, IVS.get_channel, arn="nope")
    channel = IVS.create_channel(recordingConfigurationArn="blah")["channel"]
    assert channel["recordingConfigurationArn"] == "blah", channel


main()
